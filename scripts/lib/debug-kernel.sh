# shellcheck shell=bash
# A kernel of the project's own that looks for mistakes (KASAN, lockdep and others),
# built from the source of Debian's kernel. KERNEL=debug. Sourced.
#
# kernels/<release>-debug-amd64/  as the other kernels' folders; build/ keeps what the
#                                 compiler made, so that a changed configuration builds less

DEBUG_CONFIG=selftests/debug.config

# The kernel of Debian whose source RELEASE is built from; nothing for Debian's own.
debug_base() {
	case $1 in
	*-debug-amd64) echo "${1%-debug-amd64}-amd64" ;;
	esac
}

# debug_choose SELECTION: as kernel_choose, of "debug" or of such a kernel's release.
debug_choose() {
	local base=''
	[ "$1" = debug ] || base=$(debug_base "$1")
	kernel_choose "$base"
	kernel_name "${RELEASE%-amd64}-debug-amd64"
}

# What it is made by; with the configuration, what it is made from.
debug_recipe() {
	{
		echo "$RELEASE $KERNEL_VERSION"
		cat "$SCRIPTS/inside/kernel-build"
		awk '/^Package: / { p = $2 } /^Version: / && p ~ /^(rustc|clang-19|lld-19|bindgen)$/ { print p, $2 }' \
			"$ROOT/var/lib/dpkg/status"
	} | sha256sum | cut -c1-16
}
debug_stamp() { echo "$(debug_recipe) $(sha256sum "$REPO/$DEBUG_CONFIG" | cut -c1-16)"; }

# Makes the kernel if it is not there, complete and up to date.
debug_ensure() {
	local stamp recipe release=$RELEASE
	stamp=$(debug_stamp)
	[ "$(cat "$KERNELDIR/stamp" 2>/dev/null)" != "$stamp" ] || return 0
	# brings the source
	kernel_name "$(debug_base "$release")"
	kernel_ensure
	kernel_name "$release"
	with_lock "kernel-$RELEASE"
	if [ "$(cat "$KERNELDIR/stamp" 2>/dev/null)" != "$stamp" ]; then
		host_check_disk 3
		recipe=$(debug_recipe)
		# What the same recipe began is gone on with, as make does.
		if [ "$(cat "$KERNELDIR/begun" 2>/dev/null)" != "$recipe" ]; then
			ns_run rm -rf "$KERNELDIR"
			mkdir -p "$KERNELDIR"
			echo "$recipe" >"$KERNELDIR/begun"
		fi
		rm -f "$KERNELDIR/stamp"
		step "kernel-$RELEASE" 2600 "Building the kernel $RELEASE (up to 30 minutes)" \
			in_root -- "$IN_SRC/scripts/inside/kernel-build" "$RELEASE" "$KERNEL_VERSION" \
			"$IN_SRC/$DEBUG_CONFIG" || exit 1
		echo "$stamp" >"$KERNELDIR/stamp"
	fi
	unlock
}
