# shellcheck shell=bash
# Clients that are not in the root: built from their source, or fetched. Sourced.
#
# scripts/clients/NAME/build  makes one, in a folder that it is given
# clients/NAME/               in the cache: what it made, and a stamp that is
#                             written last: what it was made from

# client_stamp NAME [ARGUMENT...]: of the build script, what it is given, and what else the
# client depends on; a kernel that boots is as good as another, and takes long.
client_stamp() {
	{
		cat "$SCRIPTS/clients/$1"/*
		echo "$@"
		[ "$1" = nested ] || root_key
		[ "$1" != rust-vmm-vhost ] || cat "$REPO/selftests/Cargo.lock"
	} | sha256sum | cut -c1-16
}

# client_ensure NAME TEXT [ARGUMENT...]: makes it if it is not complete and up to date. What
# cannot be made is no reason to leave out the others: the guest says so.
client_ensure() {
	local name=$1 text=$2 stamp dir=$CACHE/clients/$1
	shift 2
	stamp=$(client_stamp "$name" "$@")
	[ "$(cat "$dir/stamp" 2>/dev/null)" != "$stamp" ] || return 0
	with_lock "client-$name"
	if [ "$(cat "$dir/stamp" 2>/dev/null)" != "$stamp" ]; then
		ns_run rm -rf "$dir" "$dir.new"
		mkdir -p "$dir.new"
		if step "client-$name" 0 "$text" \
			in_root -- "$IN_SRC/scripts/clients/$name/build" "$IN_CACHE/clients/$name.new" "$@"; then
			echo "$stamp" >"$dir.new/stamp"
			mv "$dir.new" "$dir"
		else
			warn "the tests that need $name will be skipped"
		fi
	fi
	unlock
}

clients_ensure() {
	mkdir -p "$CACHE/clients"
	peers_ensure
	cargo_config
	client_ensure rust-vmm-vhost "Building the tests of rust-vmm's vhost"
	client_ensure libblkio "Fetching libblkio"
	[ -n "${CLIENTS_QUICK:-}" ] ||
		client_ensure nested "Building a small kernel for the nested guest" \
			"$IN_CACHE/sources/$KERNEL_VERSION"
}
