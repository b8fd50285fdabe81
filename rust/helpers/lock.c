// SPDX-License-Identifier: GPL-2.0

#include <linux/interrupt.h>
#include <linux/irqflags.h>
#include <linux/lockdep.h>
#include <linux/preempt.h>
#include <linux/spinlock.h>

#include "helpers.h"

void rvdpa_spin_lock_bh(spinlock_t *lock)
{
	spin_lock_bh(lock);
}

bool rvdpa_spin_trylock_bh(spinlock_t *lock)
{
	return spin_trylock_bh(lock);
}

void rvdpa_spin_unlock_bh(spinlock_t *lock)
{
	spin_unlock_bh(lock);
}

unsigned long rvdpa_spin_lock_irqsave(spinlock_t *lock)
{
	unsigned long flags;

	spin_lock_irqsave(lock, flags);
	return flags;
}

bool rvdpa_spin_trylock_irqsave(spinlock_t *lock, unsigned long *flags)
{
	return spin_trylock_irqsave(lock, *flags);
}

void rvdpa_spin_unlock_irqrestore(spinlock_t *lock, unsigned long flags)
{
	spin_unlock_irqrestore(lock, flags);
}

void rvdpa_assert_spin_locked(spinlock_t *lock)
{
	lockdep_assert_held(lock);
}

/*
 * Waits until whoever holds @lock has let go of it. Drivers unmap with interrupts
 * off, too, where softirqs must not be enabled again.
 */
void rvdpa_spin_barrier(spinlock_t *lock)
{
	if (irqs_disabled()) {
		spin_lock(lock);
		spin_unlock(lock);
	} else {
		spin_lock_bh(lock);
		spin_unlock_bh(lock);
	}
}

/*
 * Whether one may wait here for a softirq that runs on another CPU. It never runs on
 * this one, except with PREEMPT_RT, where waiting is sleeping.
 */
bool rvdpa_may_wait_for_softirq(void)
{
	if (!in_task())
		return false;
	return IS_ENABLED(CONFIG_PREEMPT_RT) ? preemptible() : !irqs_disabled();
}

/*
 * Whether the caller has disabled softirqs, as a network driver that transmits or polls
 * has, and nothing more than that: locks that disable softirqs may be taken.
 */
bool rvdpa_softirqs_disabled(void)
{
	return in_softirq() && !in_hardirq() && !in_nmi() && !irqs_disabled();
}
