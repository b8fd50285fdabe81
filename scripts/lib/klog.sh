# shellcheck shell=bash
# What must not stand in a kernel log. Sourced, on the host and in guests.

KLOG_BAD='WARNING:|BUG:|BUG at|Oops|general protection fault|refcount_t:|KASAN|UBSAN|KCSAN'
KLOG_BAD+='|possible (circular|recursive|irq)|suspicious RCU|INFO: task .* blocked|rcu.*stall'
KLOG_BAD+='|unable to handle|Kernel panic|soft lockup|hard LOCKUP|sleeping function called'
KLOG_BAD+='|memory leak|scheduling while atomic|DEBUG_LOCKS|Call Trace|rust_kernel: panicked|panicked at'
# Every module built outside the kernel taints it so, and is not signed.
KLOG_FINE='loading out-of-tree module taints kernel|module verification failed: signature'

# "ethtool -S" has virtio_net of Linux 7.3 make several requests of an array that is
# declared with one, which UBSAN reports: no fault of the device.
klog_without_known() {
	awk '/UBSAN: array-index-out-of-bounds in .*drivers\/net\/virtio_net\.c/ { known = 1 }
		!known { print }
		/---\[ end trace \]---/ { known = 0 }'
}

# klog_bad FILE: prints the lines that are not as they should be.
klog_bad() {
	tr -d '\r' <"$1" | klog_without_known | grep -E "$KLOG_BAD|taint" | grep -vE "$KLOG_FINE"
}
