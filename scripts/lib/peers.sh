# shellcheck shell=bash
# The kernel's own simulator, to compare with. Sourced.
#
# kernels/<release>/peers/  vringh.ko, vdpa_sim.ko, vdpa_sim_net.ko, and a stamp
#                           that is written last: what they were made from

peers_stamp() {
	{
		kernel_stamp
		cat "$SCRIPTS/inside/peers"
		(cd "$CACHE/sources/$KERNEL_VERSION/drivers" && cat vdpa/vdpa_sim/*.[ch] vhost/vringh.c)
	} | sha256sum | cut -c1-16
}

# As they were when the stamp was written?
peers_there() {
	[ "$(cat "$KERNELDIR/peers/stamp" 2>/dev/null)" = "$1 $(peers_sum)" ]
}
peers_sum() { (cd "$KERNELDIR/peers" && cat ./*.ko | sha256sum | cut -c1-16) 2>/dev/null; }

# Makes the modules for RELEASE, whose tree must be there, if they are not
# complete and up to date. Guests find them by RVDPA_PEERS.
peers_ensure() {
	local stamp source=$CACHE/sources/$KERNEL_VERSION
	[ -e "$source/drivers/vhost/vringh.c" ] ||
		die "the source of kernel $RELEASE is not in the cache ($source)" \
			"Remove $KERNELDIR: the next run fetches both."
	stamp=$(peers_stamp)
	! peers_there "$stamp" || return 0
	with_lock "peers-$RELEASE"
	if ! peers_there "$stamp"; then
		step "peers-$RELEASE" 0 "Building the kernel's own simulator for $RELEASE" \
			in_root -- "$IN_SRC/scripts/inside/peers" "$RELEASE" "$KERNEL_VERSION" || exit 1
		echo "$stamp $(peers_sum)" >"$KERNELDIR/peers/stamp"
	fi
	unlock
}
