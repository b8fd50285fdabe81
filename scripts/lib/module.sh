# shellcheck shell=bash
# Building the module, in the root for a Debian kernel or on the host for a tree
# of the user's own (KDIR). Sourced.

# module_make ARGUMENT...: Kbuild for the kernel that was chosen; what it makes
# goes to MODULE_DIR (default build/<release>) in the repository.
module_make() {
	local tree args src cc status=0 dir=${MODULE_DIR:-build/$RELEASE}
	if [ -n "${KDIR:-}" ]; then
		tree=$KDIR src=$REPO
		args=(-j"$(nproc)")
		if grep -q '^CONFIG_CC_IS_CLANG=y' "$KDIR/.config"; then
			args+=(LLVM=1)
		else
			# the compiler by the name that the tree was configured with
			cc=$(sed -n 's/^CONFIG_CC_VERSION_TEXT="\([^ ]*\) .*/\1/p' "$KDIR/.config")
			! command -v "$cc" >/dev/null || args+=("CC=$cc")
		fi
	else
		tree=$IN_TREE src=$IN_SRC
		# BTF for modules needs the kernel's vmlinux, which Debian does not ship.
		args=(-j"$(nproc)" "KERNELRELEASE=$RELEASE" "$(cat "$KERNELDIR/make-args")"
			CONFIG_DEBUG_INFO_BTF_MODULES=)
	fi
	mkdir -p "$REPO/$dir"
	set -- make --no-print-directory -C "$tree" "${args[@]}" \
		"M=$src" "MO=$src/$dir" ${V:+"V=$V"} "$@"
	# Messages name files as they stand in the repository.
	if [ -n "${KDIR:-}" ]; then
		"$@" 2>&1 </dev/null
	else
		in_root -- "$@" 2>&1 </dev/null
	fi | sed -u -e "s|$src/||g" -e '/^make\(\[.*\]\)\?: \(Entering\|Leaving\)/d' |
		tee "$LOGS/module-$RELEASE.log" || status=$?
	return "$status"
}

# Kernel chosen, tree there: sets RELEASE and RVDPA_KO.
module_ready() {
	if [ -n "${KDIR:-}" ]; then
		. "$SCRIPTS/lib/kdir.sh"
		kdir_check
		mkdir -p "$LOGS"
	else
		env_ensure
		kernel_ready
	fi
	KO=$REPO/build/$RELEASE/rvdpa_sim.ko
}

module_build() {
	local start
	module_ready
	start=$SECONDS
	[ -e "$REPO/Kbuild" ] || die "there is no Kbuild in $REPO"
	cache_dirs
	with_lock "build-$CLONE_ID"
	say "==> Building rvdpa_sim.ko for $RELEASE"
	module_make modules || die "the module does not build for $RELEASE (after $(elapsed $((SECONDS - start))))" \
		"The messages are above, and in $LOGS/module-$RELEASE.log"
	unlock
	note "build/$RELEASE/rvdpa_sim.ko, done in $(elapsed $((SECONDS - start)))"
}
