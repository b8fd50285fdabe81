// SPDX-License-Identifier: GPL-2.0
/*
 * Mistakes, one of each kind that a kernel can be built to see. A test makes
 * them, to show that such a kernel does see them and that the tests fail then.
 *
 * Write a name to the parameter "make", and that mistake is made.
 *
 * They are made so that nothing else goes wrong: what is read after it was
 * freed is read only, and the locks are never taken by two at a time.
 */
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/preempt.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/string.h>

/*
 * So many of them, for the allocator itself keeps the addresses of some in its sheaves, where
 * they count as references.
 */
#define LOST 100
#define LOST_SIZE 1000

static DEFINE_SPINLOCK(first);
static DEFINE_SPINLOCK(second);

static noinline int make_leak(void)
{
	unsigned int i;

	for (i = 0; i < LOST; i++) {
		u8 *lost = kmalloc(LOST_SIZE, GFP_KERNEL);

		if (!lost)
			return -ENOMEM;
		memset(lost, 0x5a, LOST_SIZE);
		OPTIMIZER_HIDE_VAR(lost);
	}
	return 0;
}

static noinline int make_use_after_free(void)
{
	u8 *freed = kmalloc(LOST_SIZE, GFP_KERNEL);

	if (!freed)
		return -ENOMEM;
	kfree(freed);
	/* The compiler sees through it otherwise. */
	OPTIMIZER_HIDE_VAR(freed);
	(void)READ_ONCE(freed[LOST_SIZE / 2]);
	return 0;
}

static noinline int make_lock_inversion(void)
{
	spin_lock(&first);
	spin_lock(&second);
	spin_unlock(&second);
	spin_unlock(&first);

	spin_lock(&second);
	spin_lock(&first);
	spin_unlock(&first);
	spin_unlock(&second);
	return 0;
}

static noinline int make_sleep_in_atomic(void)
{
	void *memory;

	preempt_disable();
	/* It may sleep, though it hardly ever does. */
	memory = kmalloc(LOST_SIZE, GFP_KERNEL);
	preempt_enable();
	kfree(memory);
	return 0;
}

static noinline int make_schedule_in_atomic(void)
{
	preempt_disable();
	schedule_timeout_uninterruptible(1);
	/* The kernel has put it right when it complained. */
	if (preempt_count())
		preempt_enable();
	return 0;
}

static const struct {
	const char *name;
	int (*make)(void);
} mistakes[] = {
	{ "leak", make_leak },
	{ "use_after_free", make_use_after_free },
	{ "lock_inversion", make_lock_inversion },
	{ "sleep_in_atomic", make_sleep_in_atomic },
	{ "schedule_in_atomic", make_schedule_in_atomic },
};

static int mistakes_set(const char *value, const struct kernel_param *param)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(mistakes); i++)
		if (sysfs_streq(value, mistakes[i].name))
			return mistakes[i].make();
	return -EINVAL;
}

static const struct kernel_param_ops mistakes_ops = {
	.set = mistakes_set,
};
module_param_cb(make, &mistakes_ops, NULL, 0200);
MODULE_PARM_DESC(make, "Makes a mistake: leak, use_after_free, lock_inversion, sleep_in_atomic, schedule_in_atomic");

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Makes mistakes on purpose");
