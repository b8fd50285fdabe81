# shellcheck shell=bash
# Measurements. Sourced.

# bench_measure FILE quick|full: builds all that is needed, boots a guest that counts, and
# puts what rvdpa-bench prints there into FILE.
bench_measure() {
	local file=$1 extent=$2 status=0
	[ -z "${KDIR:-}" ] || die "measurements are made with Debian's kernels (KERNEL=), not KDIR="
	module_build
	selftests_build
	peers_ensure
	step "copy-$RELEASE" 0 "Building the module that copies" \
		in_root -- "$IN_SRC/scripts/inside/copy" "$RELEASE" "$IN_SRC/build/$RELEASE" || exit 1
	say "==> Measuring on $RELEASE ($extent)"
	"$SCRIPTS/guest" --kernel "$RELEASE" --counted --memory 4096 --append rvdpa.hotplug=off \
		--timeout "${GUEST_TIMEOUT:-5400}" --log "$LOGS/bench-$RELEASE.console" -- \
		bash "$IN_SRC/scripts/guest.d/bench" "$extent" >"$file.new" || status=$?
	mv "$file.new" "$file"
	[ "$status" -eq 0 ] || {
		warn "not all could be measured; see $file and $LOGS/bench-$RELEASE.console"
		return 1
	}
}
