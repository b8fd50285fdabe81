// SPDX-License-Identifier: GPL-2.0
/*
 * The limit of what a device can do that has one copy to make: copies, and
 * nothing else.
 *
 * Write a number of bytes to the parameter "copy": so many are copied from each
 * of 256 buffers to another one, by the kernel's memcpy() and then by moving
 * words. Read it: how many copies there were, and the cycles that they took
 * together in the way that took less.
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

/* One instruction for each eight bytes, where instructions are counted. */
static void move_words(u8 *to, const u8 *from, unsigned long bytes)
{
	unsigned long words = bytes / 8;

	asm volatile("rep movsq"
		     : "+D"(to), "+S"(from), "+c"(words) : : "memory");
	bytes %= 8;
	asm volatile("rep movsb"
		     : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

static void copy_all(unsigned int bytes, bool words)
{
	unsigned int i;

	for (i = 0; i < BUFFERS; i++) {
		if (words)
			move_words(to + i * ROOM, from + i * ROOM, bytes);
		else
			memcpy(to + i * ROOM, from + i * ROOM, bytes);
		/* It is to be done, and one after the other. */
		barrier();
	}
}

static int copy_set(const char *value, const struct kernel_param *param)
{
	unsigned int bytes;
	u64 start, middle, end;
	int err;

	err = kstrtouint(value, 0, &bytes);
	if (err)
		return err;
	if (bytes > ROOM || !from)
		return -EINVAL;
	preempt_disable();
	start = get_cycles();
	copy_all(bytes, false);
	middle = get_cycles();
	copy_all(bytes, true);
	end = get_cycles();
	preempt_enable();
	cycles = min(middle - start, end - middle);
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
