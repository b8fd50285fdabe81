# shellcheck shell=bash
# Running a guest. Sourced by scripts/guest; its options are variables there.

# guest_run COMMAND...
guest_run() {
	local run status=0 why log_host
	run=$(mktemp -d "$CACHE/run/guest.XXXXXX")
	# shellcheck disable=SC2064 # its value of now is meant
	trap "rm -rf '$run'" EXIT
	chmod 755 "$run"
	guest_command "$@" >"$run/command"
	log_host=${log:-$LOGS/guest-$RELEASE.log}
	[ -n "$accel" ] || accel=$(guest_accel)

	export RVDPA_RELEASE=$RELEASE RVDPA_RUN=$IN_CACHE/run/${run##*/} \
		RVDPA_TIMEOUT=$timeout RVDPA_CPUS=$cpus RVDPA_MEMORY=$memory \
		RVDPA_APPEND=$append RVDPA_QEMU=$qemu RVDPA_ACCEL=$accel RVDPA_TTY=$tty \
		RVDPA_ROOT=$root
	in_root --modules "$KERNELDIR/modules" -- "$IN_SRC/scripts/inside/boot" || status=$?

	[ ! -e "$run/console" ] || mv "$run/console" "$log_host"
	why=''
	case $status in
	124) why="the guest did not end within $timeout s" ;;
	125) why="the guest died before the command ended" ;;
	esac
	if [ -n "$why" ]; then
		{
			echo "error: $why. Of its console:"
			guest_excerpt "$log_host" | tr -d '\r' | sed 's/^/  | /'
			echo "       The full console log: $log_host"
		} >&2
	fi
	return "$status"
}

# What tells most: from where the kernel first complains, else the last lines.
guest_excerpt() {
	local from
	from=$(grep -naE -m 1 'Kernel panic|BUG:|Oops|WARNING:|soft lockup|blocked for more' "$1" | cut -d: -f1) || true
	if [ -n "$from" ]; then
		tail -n "+$from" "$1" | head -n 40
	else
		tail -n 15 "$1"
	fi
}

# The script that the guest runs: environment and command.
guest_command() {
	printf 'export RVDPA_KO=%q\n' "$IN_SRC/build/$RELEASE/rvdpa_sim.ko"
	printf 'export RVDPA_PEERS=%q\n' "$IN_CACHE/kernels/$RELEASE/peers"
	printf 'export RVDPA_CLIENTS=%q\n' "$IN_CACHE/clients"
	printf 'export RVDPA_TARGET=%q\n' "$IN_TARGET"
	printf 'export RVDPA_SLOWNESS=%q\n' "${RVDPA_SLOWNESS:-$(guest_slowness)}"
	# shellcheck disable=SC2016 # the guest's PATH is meant
	printf 'export PATH=%q:$PATH\n' "$IN_TARGET/release"
	[ -z "${TERM:-}" ] || printf 'export TERM=%q\n' "$TERM"
	if [ -n "$tty" ] && [ -t 0 ]; then
		# shellcheck disable=SC2046,SC2183 # two numbers
		printf 'stty rows %s cols %s\n' $(stty size)
	fi
	printf 'cd %s\n' "$IN_SRC"
	if [ $# -gt 0 ]; then
		printf 'exec'
		printf ' %q' "$@"
		printf '\n'
	else
		echo 'exec bash -i'
	fi
}

# How many times longer things may take than on Debian's plain kernel, for the tests.
guest_slowness() {
	if grep -q '^CONFIG_KASAN=y' "$KERNELDIR/config"; then
		echo 8
	elif grep -q '^CONFIG_PREEMPT_RT=y' "$KERNELDIR/config"; then
		echo 2
	else
		echo 1
	fi
}

# What a kernel needs on its command line. While one looks what processor it has, it takes five
# levels of page tables for four, and KASAN what an interrupt uses then for no memory at all:
# that complaint would be the only one, and lockdep would stop, too.
guest_append() {
	! grep -q '^CONFIG_KASAN=y' "$KERNELDIR/config" || echo no5lvl
}

# KVM only when a guest has really booted with it: on some machines /dev/kvm is
# there and no kernel runs on it. Asked once per start of the machine and QEMU.
guest_accel() {
	local key result
	[ -w /dev/kvm ] || { echo tcg; return; }
	key=$(cat /proc/sys/kernel/random/boot_id "$ROOT/var/lib/dpkg/info/qemu-system-x86.list" |
		sha256sum | cut -c1-12)
	result=$CACHE/run/kvm-$key
	if [ ! -s "$result" ]; then
		rm -f "$CACHE"/run/kvm-*
		if "$SCRIPTS/guest" --kernel "$RELEASE" --accel kvm --timeout 15 \
			--log "$LOGS/kvm-probe.log" -- true >/dev/null 2>&1; then
			echo kvm >"$result"
		else
			echo tcg >"$result"
		fi
	fi
	cat "$result"
}
