# shellcheck shell=bash
# Measurements. Sourced.

# bench_guest NAME GUEST-OPTION... -- WORD...: boots a guest and has scripts/guest.d/bench
# measure there what the words say; what that prints goes on in $BENCH_LINES.
bench_guest() {
	local name=$1 options=() status=0
	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	"$SCRIPTS/guest" --kernel "$RELEASE" "${options[@]}" --append rvdpa.hotplug=off \
		--timeout "${GUEST_TIMEOUT:-5400}" --log "$LOGS/bench-$name-$RELEASE.console" -- \
		bash "$IN_SRC/scripts/guest.d/bench" "$@" >>"$BENCH_LINES" || status=$?
	[ "$status" -eq 0 ] || {
		warn "not all could be measured; see $LOGS/bench-$name-$RELEASE.console"
		return 1
	}
}

# bench_measure FILE quick|full: builds all that is needed, measures in guests, and puts what
# rvdpa-bench prints there into FILE.
bench_measure() {
	local file=$1 extent=$2 subject status=0
	[ -z "${KDIR:-}" ] || die "measurements are made with Debian's kernels (KERNEL=), not KDIR="
	module_build
	selftests_build
	peers_ensure
	step "copy-$RELEASE" 0 "Building the module that copies" \
		in_root -- "$IN_SRC/scripts/inside/c-module" "$RELEASE" copy "$IN_SRC/build/$RELEASE" || exit 1
	say "==> Measuring on $RELEASE ($extent)"
	BENCH_LINES=$file.new
	: >"$BENCH_LINES"
	bench_guest counted --counted --memory 4096 -- "$extent" || status=1
	# Who comes second in a boot lives in what the first one has left.
	for subject in rvdpa_sim vdpa_sim; do
		bench_guest "idle-$subject" --counted -- idle "$subject" || status=1
	done
	# Emulated, fast moves are slow.
	[ "$extent" = quick ] ||
		bench_guest timed --cpus 2 --qemu "-cpu max,erms=off,fsrm=off" -- timed || status=1
	mv "$file.new" "$file"
	return "$status"
}
