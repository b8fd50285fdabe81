# shellcheck shell=bash
# What must not stand in a kernel log. Sourced, on the host and in guests.

KLOG_BAD='WARNING:|BUG:|BUG at|INFO:|Oops|general protection fault|refcount_t:|KASAN|UBSAN|KCSAN'
KLOG_BAD+='|possible (circular|recursive|irq|deadlock)|inconsistent lock state|suspicious RCU'
KLOG_BAD+='|ODEBUG|DEBUG_LOCKS|task .* blocked|rcu.*stall|soft lockup|hard LOCKUP'
KLOG_BAD+='|unable to handle|Kernel panic|sleeping function called|scheduling while atomic'
KLOG_BAD+='|Out of memory: Killed|memory leak|Call Trace|rust_kernel: panicked|panicked at'
# Every module built outside the kernel taints it so, and is not signed.
KLOG_FINE='loading out-of-tree module taints kernel|module verification failed: signature|Kernel memory leak detector initialized'
KLOG_KNOWN=$(dirname "${BASH_SOURCE[0]}")/../../selftests/known-complaints

klog_without_known() {
	awk 'FNR == NR {
			if ($0 !~ /^#/ && NF) {
				at = index($0, " ... ")
				first[++count] = at ? substr($0, 1, at - 1) : $0
				ends[count] = at ? substr($0, at + 5) : "end trace"
			}
			next
		}
		known {
			n = split(ends[known], end, / \| /)
			for (k = 1; k <= n; k++)
				if (index($0, end[k])) {
					known = 0
					print
					next
				}
			next
		}
		{
			for (i = 1; i <= count && !known; i++) {
				n = split(first[i], part, / & /)
				for (k = 1; k <= n && index($0, part[k]); k++)
					;
				if (k > n)
					known = i
			}
			if (!known)
				print
		}' "$KLOG_KNOWN" -
}

# klog_bad FILE: prints the lines that are not as they should be.
klog_bad() {
	tr -d '\r' <"$1" | klog_without_known | grep -E "$KLOG_BAD|taint" | grep -vE "$KLOG_FINE"
}
