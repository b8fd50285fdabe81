# shellcheck shell=bash
# A kernel tree of the user's own (KDIR=). Sourced.

# Checks that a Rust module can be built against the tree, and says what to do
# when it cannot. Sets RELEASE.
kdir_check() {
	local want have rustc=${RUSTC:-rustc} config=$KDIR/.config
	[ -d "$KDIR" ] || die "KDIR=$KDIR: there is no such folder"
	KDIR=$(cd "$KDIR" && pwd -P)
	[ -e "$KDIR/Makefile" ] && [ -e "$config" ] ||
		die "KDIR=$KDIR is not a configured kernel tree (no Makefile or no .config)" \
		    "Give the folder that the kernel was built in."
	grep -q '^CONFIG_RUST=y' "$config" ||
		die "the kernel in $KDIR is built without Rust (CONFIG_RUST is not set)" \
		    "'make -C $KDIR rustavailable' tells what it misses; then set" \
		    "CONFIG_RUST=y and build the kernel."
	grep -qE '^CONFIG_VDPA=[ym]' "$config" ||
		die "the kernel in $KDIR has no vDPA (CONFIG_VDPA is not set)" \
		    "Set CONFIG_VDPA=m, and CONFIG_VIRTIO_VDPA=m and CONFIG_VHOST_VDPA=m" \
		    "for the two drivers of the bus; then build the kernel."
	# shellcheck disable=SC2144 # one file
	[ -e "$KDIR/rust/libkernel.rmeta" ] && compgen -G "$KDIR/rust/libmacros*.so" >/dev/null ||
		die "the tree $KDIR has no Rust metadata (rust/libkernel.rmeta, rust/libmacros.so)" \
		    "Build it there:  make -C $KDIR prepare modules_prepare" \
		    "(A distribution's headers package leaves it out: for Debian's kernels use" \
		    "KERNEL=<release>, which makes it again.)"
	[ -e "$KDIR/Module.symvers" ] ||
		die "the tree $KDIR has no Module.symvers" "Build the kernel there first: make -C $KDIR"
	command -v "$rustc" >/dev/null ||
		die "there is no rustc on this machine" "KDIR= builds with the machine's own compilers."
	want=$(sed -n 's/^CONFIG_RUSTC_VERSION_TEXT="\(.*\)"/\1/p' "$config")
	have=$("$rustc" --version)
	[ "$want" = "$have" ] ||
		die "the kernel in $KDIR was built by another rustc" \
		    "it:   $want" "here: $have" \
		    "Put that rustc first in PATH, or configure and build the kernel again."
	RELEASE=$(cat "$KDIR/include/config/kernel.release" 2>/dev/null) ||
		die "the tree $KDIR is not built (no include/config/kernel.release)" \
		    "Run:  make -C $KDIR prepare"
}
