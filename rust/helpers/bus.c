// SPDX-License-Identifier: GPL-2.0

#include <linux/cpumask.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/printk.h>
#include <linux/ratelimit.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/workqueue.h>
#include <net/netlink.h>
#include <uapi/linux/vdpa.h>

#include "helpers.h"

bool rvdpa_module_get(struct module *module)
{
	return try_module_get(module);
}

void rvdpa_module_put(struct module *module)
{
	module_put(module);
}

/*
 * Waits until each task that runs, or was preempted in, the last instructions after
 * module_put() has left them: only then may the module's text go.
 */
void rvdpa_wait_for_text(void)
{
	synchronize_rcu_tasks();
}

/*
 * @bound: work runs on the CPU that it was put on the queue for, and does not keep
 * other work of that CPU waiting; else it runs on any.
 */
struct workqueue_struct *rvdpa_alloc_workqueue(const char *name, bool bound)
{
	unsigned int flags = bound ? WQ_PERCPU | WQ_CPU_INTENSIVE : WQ_UNBOUND;

	return alloc_workqueue("%s", flags | WQ_HIGHPRI, 0, name);
}

bool rvdpa_need_resched(void)
{
	return need_resched();
}

bool rvdpa_cpu_online(u32 cpu)
{
	return cpu < nr_cpu_ids && cpu_online(cpu);
}

/*
 * The first online CPU of @mask; U32_MAX if there is none, or if @mask has all CPUs
 * that are online.
 */
u32 rvdpa_cpumask_choose(const struct cpumask *mask)
{
	unsigned int cpu;

	if (cpumask_subset(cpu_online_mask, mask))
		return U32_MAX;
	cpu = cpumask_first_and(mask, cpu_online_mask);
	return cpu < nr_cpu_ids ? cpu : U32_MAX;
}

/* One budget for all lines that a driver can provoke. */
bool rvdpa_ratelimit(void)
{
	static DEFINE_RATELIMIT_STATE(limit, DEFAULT_RATELIMIT_INTERVAL,
				      DEFAULT_RATELIMIT_BURST);

	return __ratelimit(&limit);
}

#ifndef CONFIG_X86_64
unsigned long rvdpa_index_mask_nospec(unsigned long index, unsigned long size)
{
	return array_index_mask_nospec(index, size);
}
#endif

void rvdpa_extack_set(struct netlink_ext_ack *extack, const char *msg)
{
	if (extack)
		extack->_msg = msg;
}

int rvdpa_nla_put_u64(struct sk_buff *skb, int attr, u64 value, int pad)
{
	return nla_put_u64_64bit(skb, attr, value, pad);
}

/*
 * Readers take attributes as they come, and the core has just put the index of the
 * queue: the number of pairs has to go before it.
 */
int rvdpa_nla_put_max_vqp(struct sk_buff *skb, u16 pairs)
{
	const int size = nla_total_size(sizeof(u32));
	struct nlattr *last;
	u32 index;

	if (skb->len < size)
		return -EINVAL;
	last = (struct nlattr *)(skb_tail_pointer(skb) - size);
	if (last->nla_type != VDPA_ATTR_DEV_QUEUE_INDEX ||
	    last->nla_len != nla_attr_size(sizeof(u32)))
		return -EINVAL;
	index = nla_get_u32(last);
	nlmsg_trim(skb, last);
	return nla_put_u16(skb, VDPA_ATTR_DEV_NET_CFG_MAX_VQP, pairs) ?:
	       nla_put_u32(skb, VDPA_ATTR_DEV_QUEUE_INDEX, index);
}

int rvdpa_nla_put_string(struct sk_buff *skb, int attr, const char *value)
{
	return nla_put_string(skb, attr, value);
}

u16 rvdpa_vq_state_split_get(const struct vdpa_vq_state *state)
{
	return state->split.avail_index;
}

void rvdpa_vq_state_split_set(struct vdpa_vq_state *state, u16 avail_index)
{
	state->split.avail_index = avail_index;
}

/* Bits 0 to 15: available counter and index; bits 16 to 31: used counter and index. */
u32 rvdpa_vq_state_packed_get(const struct vdpa_vq_state *state)
{
	const struct vdpa_vq_state_packed *p = &state->packed;

	return p->last_avail_idx | (u32)p->last_avail_counter << 15 |
	       (u32)p->last_used_idx << 16 | (u32)p->last_used_counter << 31;
}

void rvdpa_vq_state_packed_set(struct vdpa_vq_state *state, u32 packed)
{
	struct vdpa_vq_state_packed *p = &state->packed;

	p->last_avail_idx = packed & 0x7fff;
	p->last_avail_counter = packed >> 15 & 1;
	p->last_used_idx = packed >> 16 & 0x7fff;
	p->last_used_counter = packed >> 31;
}
