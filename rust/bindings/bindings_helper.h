/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the module needs and the kernel's own `bindings` crate lacks. Kbuild runs
 * bindgen over this file; bindgen_parameters says what is taken from it.
 */

#include <linux/vdpa.h>
#include <linux/vhost_iotlb.h>
#include <linux/virtio.h>
#include <linux/virtio_config.h>
#include <uapi/linux/vdpa.h>
#include <uapi/linux/vhost_types.h>
#include <uapi/linux/virtio_ids.h>

#include "../helpers/helpers.h"
