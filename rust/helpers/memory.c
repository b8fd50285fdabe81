// SPDX-License-Identifier: GPL-2.0

#include <linux/gfp.h>
#include <linux/instrumented.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/mm.h>
#include <linux/mmu_context.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>
#include <linux/virtio_config.h>

#include "helpers.h"

#ifndef CONFIG_64BIT
#error "rvdpa_sim reaches pages through the direct map of a 64-bit kernel"
#endif

/*
 * Takes a reference to each page of the range, all of which the caller has pinned.
 * The kernel sees them side by side in its direct map, from rvdpa_virt(@pa) on.
 * False, and no reference, if a part of the range is not memory.
 */
bool rvdpa_pages_get(phys_addr_t pa, u64 size)
{
	unsigned long first = PHYS_PFN(pa);
	unsigned long count = PHYS_PFN(offset_in_page(pa) + size + PAGE_SIZE - 1);
	unsigned long i;

	for (i = 0; i < count; i++)
		if (!pfn_valid(first + i))
			return false;
	for (i = 0; i < count; i++)
		get_page(pfn_to_page(first + i));
	return true;
}

/* Gives back what rvdpa_pages_get() took. May sleep if @dirty. */
void rvdpa_pages_put(phys_addr_t pa, u64 size, bool dirty)
{
	unsigned long first = PHYS_PFN(pa);
	unsigned long count = PHYS_PFN(offset_in_page(pa) + size + PAGE_SIZE - 1);
	unsigned long i;

	for (i = 0; i < count; i++) {
		struct page *page = pfn_to_page(first + i);

		/* The device may have written after vhost-vdpa marked it. */
		if (dirty)
			set_page_dirty_lock(page);
		put_page(page);
	}
}

/*
 * Where the kernel sees the physical memory around @pa, in the block of @block bytes that @pa
 * is in: it begins at @first and has the returned size; 0 for what is not memory. Looks at
 * each unit in which there is memory or none.
 */
size_t rvdpa_identity(phys_addr_t pa, size_t block, phys_addr_t *first)
{
#ifdef SUBSECTION_SIZE
	const size_t unit = SUBSECTION_SIZE;
	const phys_addr_t start = ALIGN_DOWN(pa, block);
	const phys_addr_t end = start + block;
#else
	const size_t unit = PAGE_SIZE;
	const phys_addr_t start = ALIGN_DOWN(pa, unit);
	const phys_addr_t end = start + unit;
#endif
	phys_addr_t from = ALIGN_DOWN(pa, unit);
	phys_addr_t to = from + unit;

	if (!pfn_valid(PHYS_PFN(pa)))
		return 0;
	while (from > start && pfn_valid(PHYS_PFN(from - unit)))
		from -= unit;
	while (to < end && pfn_valid(PHYS_PFN(to)))
		to += unit;
	*first = from;
	return to - from;
}

phys_addr_t rvdpa_page_address(struct page *page, unsigned long offset)
{
	return page_to_phys(page) + offset;
}

/* The map_page operation where iovas are physical addresses. */
dma_addr_t rvdpa_map_page_by_identity(union virtio_map map, struct page *page,
				      unsigned long offset, size_t size,
				      enum dma_data_direction dir, unsigned long attrs)
{
	return rvdpa_page_address(page, offset);
}

void *rvdpa_virt(phys_addr_t pa)
{
	return phys_to_virt(pa);
}

void *rvdpa_ring_alloc(size_t size, gfp_t gfp, phys_addr_t *pa)
{
	void *vaddr = alloc_pages_exact(size, gfp | __GFP_ZERO);

	if (vaddr)
		*pa = virt_to_phys(vaddr);
	return vaddr;
}

void rvdpa_ring_free(void *vaddr, size_t size)
{
	free_pages_exact(vaddr, size);
}

/*
 * Copies much between memory of the kernel; the two may overlap. memmove() and memcpy() make
 * a string move of it if the processor has FSRM, that is, if it moves little fast, too; and
 * take words if not. Much is moved fast by all processors.
 */
void rvdpa_copy(void *to, const void *from, size_t len)
{
#ifdef CONFIG_X86_64
	unsigned long words = len / sizeof(u64);

	if (to >= from + len || from >= to + len) {
		instrument_memcpy_before(to, from, len);
		asm volatile("rep movsq"
			     : "+D" (to), "+S" (from), "+c" (words) : : "memory");
		len %= sizeof(u64);
		asm volatile("rep movsb"
			     : "+D" (to), "+S" (from), "+c" (len) : : "memory");
		return;
	}
#endif
	memmove(to, from, len);
}

/*
 * Reads memory of the current mm, from any context; false if it is not resident. The caller
 * knows that @to has room: what hardened usercopy would look at is not looked at again.
 */
bool rvdpa_user_read(void *to, unsigned long from, size_t len)
{
	const void __user *source = (const void __user *)from;
	unsigned long left;

	if (!access_ok(source, len))
		return false;
	pagefault_disable();
	instrument_copy_from_user_before(to, source, len);
	left = raw_copy_from_user(to, source, len);
	instrument_copy_from_user_after(to, source, len, left);
	pagefault_enable();
	return !left;
}

/* Writes memory of the current mm, as rvdpa_user_read() reads it. */
bool rvdpa_user_write(unsigned long to, const void *from, size_t len)
{
	void __user *target = (void __user *)to;
	unsigned long left;

	if (!access_ok(target, len))
		return false;
	pagefault_disable();
	instrument_copy_to_user(target, from, len);
	left = raw_copy_to_user(target, from, len);
	pagefault_enable();
	return !left;
}

/* The same for 16 bits, in one access: nobody may see one half of an index. */
bool rvdpa_user_load(u16 *to, unsigned long from)
{
	const u16 __user *source = (const u16 __user *)from;

	pagefault_disable();
	if (!user_read_access_begin(source, sizeof(*source)))
		goto refused;
	unsafe_get_user(*to, source, absent);
	user_read_access_end();
	pagefault_enable();
	return true;
absent:
	user_read_access_end();
refused:
	pagefault_enable();
	return false;
}

bool rvdpa_user_store(unsigned long to, u16 value)
{
	u16 __user *target = (u16 __user *)to;

	pagefault_disable();
	if (!user_write_access_begin(target, sizeof(*target)))
		goto refused;
	unsafe_put_user(value, target, absent);
	user_write_access_end();
	pagefault_enable();
	return true;
absent:
	user_write_access_end();
refused:
	pagefault_enable();
	return false;
}

/* Reads @count times 16 bits that lie side by side. */
bool rvdpa_user_collect(u16 *to, unsigned long from, size_t count)
{
	const u16 __user *numbers = (const u16 __user *)from;
	size_t i;

	pagefault_disable();
	if (!user_read_access_begin(numbers, count * sizeof(*numbers)))
		goto refused;
	for (i = 0; i < count; i++)
		unsafe_get_user(to[i], numbers + i, absent);
	user_read_access_end();
	pagefault_enable();
	return true;
absent:
	user_read_access_end();
refused:
	pagefault_enable();
	return false;
}

/*
 * Reads descriptors of two words, at most @count, up to one whose flags, which are its last 16
 * bits, are not @flags as far as @mask goes, or that is not resident. Returns how many.
 */
size_t rvdpa_user_available(u64 *to, unsigned long from, size_t count, u16 mask, u16 flags)
{
	const u64 __user *words = (const u64 __user *)from;
	size_t i = 0;
	u16 latest;

	pagefault_disable();
	if (!user_read_access_begin(words, count * 16))
		goto refused;
	for (; i < count; i++) {
		unsafe_get_user(latest, (const u16 __user *)(words + 2 * i) + 7, absent);
		if ((latest & mask) != flags)
			break;
		/* What was written before the flags. */
		smp_rmb();
		unsafe_get_user(to[2 * i], words + 2 * i, absent);
		unsafe_get_user(to[2 * i + 1], words + 2 * i + 1, absent);
		/* One answer to what the flags are. */
		to[2 * i + 1] = (to[2 * i + 1] & ~0ULL >> 16) | (u64)latest << 48;
	}
absent:
	user_read_access_end();
refused:
	pagefault_enable();
	return i;
}

/* Reads those with @indices, of @size that lie side by side and have two words each. */
bool rvdpa_user_gather(u64 *to, unsigned long from, size_t size, const u16 *indices,
		       size_t count)
{
	const u64 __user *words = (const u64 __user *)from;
	size_t i;

	pagefault_disable();
	if (!user_read_access_begin(words, size * 16))
		goto refused;
	for (i = 0; i < count; i++) {
		unsafe_get_user(to[2 * i], words + 2 * indices[i], absent);
		unsafe_get_user(to[2 * i + 1], words + 2 * indices[i] + 1, absent);
	}
	user_read_access_end();
	pagefault_enable();
	return true;
absent:
	user_read_access_end();
refused:
	pagefault_enable();
	return false;
}

/* Writes @count values, each @stride bytes behind the one before. */
bool rvdpa_user_scatter(unsigned long to, size_t stride, const u64 *values, size_t count)
{
	size_t i;

	pagefault_disable();
	if (!user_write_access_begin((void __user *)to, stride * count))
		goto refused;
	for (i = 0; i < count; i++)
		unsafe_put_user(values[i], (u64 __user *)(to + i * stride), absent);
	user_write_access_end();
	pagefault_enable();
	return true;
absent:
	user_write_access_end();
refused:
	pagefault_enable();
	return false;
}

/*
 * Makes memory of the current mm resident. May sleep. Not a byte is written, as
 * fault_in_writeable() does it: the client may have taken the memory away meanwhile.
 */
bool rvdpa_user_fault_in(unsigned long addr, size_t len, bool write)
{
	if (!access_ok((void __user *)addr, len))
		return false;
	if (write)
		return !fault_in_safe_writeable((const char __user *)addr, len);
	return !fault_in_readable((const char __user *)addr, len);
}

/*
 * Makes @mm the memory of this kernel thread. False where that is not possible: its
 * last user is gone, this is no kernel thread in process context, or it uses another
 * mm already.
 */
bool rvdpa_mm_use(struct mm_struct *mm)
{
	if (!in_task() || !(current->flags & PF_KTHREAD) || current->mm)
		return false;
	if (!mmget_not_zero(mm))
		return false;
	kthread_use_mm(mm);
	return true;
}

void rvdpa_mm_unuse(struct mm_struct *mm)
{
	kthread_unuse_mm(mm);
	mmput_async(mm);
}
