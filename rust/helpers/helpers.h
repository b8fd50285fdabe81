/* SPDX-License-Identifier: GPL-2.0 */
/*
 * C shims for what Rust cannot call: inline functions, macros and bit-fields.
 * Each does one thing; what it may be called from is said here, why it is sound
 * is said where Rust calls it.
 */
#ifndef RVDPA_HELPERS_H
#define RVDPA_HELPERS_H

#include <linux/cpumask_types.h>
#include <linux/mm_types.h>
#include <linux/seq_file.h>
#include <linux/spinlock_types.h>
#include <linux/types.h>
#include <linux/vdpa.h>
#include <linux/virtio_config.h>

/* lock.c: spin locks that also keep softirqs, or interrupts, away; contexts. */
void rvdpa_spin_lock_bh(spinlock_t *lock);
bool rvdpa_spin_trylock_bh(spinlock_t *lock);
void rvdpa_spin_unlock_bh(spinlock_t *lock);
unsigned long rvdpa_spin_lock_irqsave(spinlock_t *lock);
bool rvdpa_spin_trylock_irqsave(spinlock_t *lock, unsigned long *flags);
void rvdpa_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags);
void rvdpa_assert_spin_locked(spinlock_t *lock);
void rvdpa_spin_barrier(spinlock_t *lock);
bool rvdpa_may_wait_for_softirq(void);
bool rvdpa_softirqs_disabled(void);

/* memory.c: pages that the device holds, and memory of a client. */
bool rvdpa_pages_get(phys_addr_t pa, u64 size);
void rvdpa_pages_put(phys_addr_t pa, u64 size, bool dirty);
size_t rvdpa_identity(phys_addr_t pa, size_t block, phys_addr_t *first);
phys_addr_t rvdpa_page_address(struct page *page, unsigned long offset);
dma_addr_t rvdpa_map_page_by_identity(union virtio_map map, struct page *page,
				      unsigned long offset, size_t size,
				      enum dma_data_direction dir, unsigned long attrs);
void *rvdpa_virt(phys_addr_t pa);
void *rvdpa_ring_alloc(size_t size, gfp_t gfp, phys_addr_t *pa);
void rvdpa_ring_free(void *vaddr, size_t size);
void rvdpa_copy(void *to, const void *from, size_t len);
bool rvdpa_user_read(void *to, unsigned long from, size_t len);
bool rvdpa_user_write(unsigned long to, const void *from, size_t len);
bool rvdpa_user_load(u16 *to, unsigned long from);
bool rvdpa_user_store(unsigned long to, u16 value);
bool rvdpa_user_collect(u16 *to, unsigned long from, size_t count);
size_t rvdpa_user_available(u64 *to, unsigned long from, size_t count, u16 mask, u16 flags);
bool rvdpa_user_gather(u64 *to, unsigned long from, size_t size, const u16 *indices,
		       size_t count);
bool rvdpa_user_scatter(unsigned long to, size_t stride, const u64 *values, size_t count);
bool rvdpa_user_fault_in(unsigned long addr, size_t len, bool write);
bool rvdpa_mm_use(struct mm_struct *mm);
void rvdpa_mm_unuse(struct mm_struct *mm);

/* bus.c: the vDPA bus, netlink, work queues, CPUs and the module. */
bool rvdpa_module_get(struct module *module);
void rvdpa_module_put(struct module *module);
void rvdpa_wait_for_text(void);
struct workqueue_struct *rvdpa_alloc_workqueue(const char *name, bool bound);
bool rvdpa_need_resched(void);
bool rvdpa_cpu_online(u32 cpu);
u32 rvdpa_cpumask_choose(const struct cpumask *mask);
bool rvdpa_ratelimit(void);
#ifndef CONFIG_X86_64
unsigned long rvdpa_index_mask_nospec(unsigned long index, unsigned long size);
#endif
void rvdpa_extack_set(struct netlink_ext_ack *extack, const char *msg);
int rvdpa_nla_put_u64(struct sk_buff *skb, int attr, u64 value, int pad);
int rvdpa_nla_put_max_vqp(struct sk_buff *skb, u16 pairs);
int rvdpa_nla_put_string(struct sk_buff *skb, int attr, const char *value);
u16 rvdpa_vq_state_split_get(const struct vdpa_vq_state *state);
void rvdpa_vq_state_split_set(struct vdpa_vq_state *state, u16 avail_index);
u32 rvdpa_vq_state_packed_get(const struct vdpa_vq_state *state);
void rvdpa_vq_state_packed_set(struct vdpa_vq_state *state, u32 packed);

/* debugfs.c: directories and files of debugfs. */
struct rvdpa_debugfs_file {
	/* Prints; called again with more room if there was not enough. */
	void (*show)(const struct rvdpa_debugfs_file *file, struct seq_file *seq);
	/* Takes what was written, at most 64 bytes. NULL for a file to read only. */
	int (*store)(const struct rvdpa_debugfs_file *file, const char *line, size_t len);
};

struct dentry *rvdpa_debugfs_dir(const char *name, struct dentry *parent);
struct dentry *rvdpa_debugfs_create(const char *name, struct dentry *parent,
				    const struct rvdpa_debugfs_file *file);
void rvdpa_debugfs_remove(struct dentry *dentry);

#endif /* RVDPA_HELPERS_H */
