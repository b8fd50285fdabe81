// SPDX-License-Identifier: GPL-2.0
/*
 * The limit of what a device can do that has one copy to make: copies, and
 * nothing else.
 *
 * Write a number of bytes to the parameter "copy": so many are copied from each
 * of 256 buffers to another one. Read it: how many copies there were, and the
 * cycles that they took together.
 */
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/string.h>
#include <linux/timex.h>
#include <linux/vmalloc.h>

#define BUFFERS 256
#define ROOM 65536

static u8 *from, *to;
static u64 cycles;

static int copy_set(const char *value, const struct kernel_param *param)
{
	unsigned int bytes, i;
	u64 start;
	int err;

	err = kstrtouint(value, 0, &bytes);
	if (err)
		return err;
	if (bytes > ROOM || !from)
		return -EINVAL;
	preempt_disable();
	start = get_cycles();
	for (i = 0; i < BUFFERS; i++) {
		memcpy(to + i * ROOM, from + i * ROOM, bytes);
		/* It is to be done, and one after the other. */
		barrier();
	}
	cycles = get_cycles() - start;
	preempt_enable();
	return 0;
}

static int copy_get(char *buffer, const struct kernel_param *param)
{
	return sysfs_emit(buffer, "%u %llu\n", BUFFERS, cycles);
}

static const struct kernel_param_ops copy_ops = {
	.set = copy_set,
	.get = copy_get,
};
module_param_cb(copy, &copy_ops, NULL, 0600);
MODULE_PARM_DESC(copy, "Bytes to copy; then copies and cycles");

static int __init copy_init(void)
{
	from = vmalloc(BUFFERS * ROOM);
	to = vmalloc(BUFFERS * ROOM);
	if (!from || !to) {
		vfree(from);
		vfree(to);
		return -ENOMEM;
	}
	memset(from, 0x5a, BUFFERS * ROOM);
	memset(to, 0, BUFFERS * ROOM);
	return 0;
}

static void __exit copy_exit(void)
{
	vfree(from);
	vfree(to);
}

module_init(copy_init);
module_exit(copy_exit);
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Measures copies of memory");
