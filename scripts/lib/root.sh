# shellcheck shell=bash
# The trixie root: build environment and the guests' userland. Sourced.

ROOT_SUITE=trixie
# Raise when this file changes how a root is made.
ROOT_RECIPE=1

root_packages() { sed 's/#.*//' "$SCRIPTS/packages.txt" | tr -s ' \n' '\n' | sed '/^$/d'; }

root_key() {
	{ echo "$ROOT_SUITE $ROOT_RECIPE $(id -u)"; root_packages; } | sha256sum | cut -c1-12
}

ROOT=$CACHE/root-$(root_key)

# The folder gets its final name only when it is complete.
root_ready() { [ -d "$ROOT/var/lib/dpkg" ]; }

root_ensure() {
	local old
	root_ready && return
	with_lock root
	if ! root_ready; then
		host_check_disk 10
		root_remove "$CACHE"/root-tmp.*
		step root 2600 "Making the build environment (a Debian $ROOT_SUITE root, about 2 minutes)" \
			root_make || exit 1
		# roots of other recipes go, unless another run is in one
		if flock -n -x "$USE_FD"; then
			for old in "$CACHE"/root-*; do
				[ "$old" = "$ROOT" ] || root_remove "$old"
			done
			flock -s "$USE_FD"
		fi
	fi
	unlock
}

root_make() {
	local tmp mirror packages
	tmp=$(mktemp -d "$CACHE/root-tmp.XXXXXX") || return
	mirror=$(host_mirror)
	[ -z "$mirror" ] || echo "mirror: $mirror"
	packages=$(root_packages | paste -sd,)
	ns_run bash "$SCRIPTS/lib/root-make.sh" "$ROOT_SUITE" "$tmp" "$packages" "$mirror" ||
		{ root_remove "$tmp"; return 1; }
	mv "$tmp" "$ROOT"
}

# A root has files of many users: an ordinary user needs the namespace to
# remove it.
root_remove() {
	local dir
	for dir; do
		[ ! -d "$dir" ] || ns_run rm -rf --one-file-system "$dir"
	done
}
