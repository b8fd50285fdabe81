# shellcheck shell=bash
# Everything under lib/, for the scripts that a person runs. Sourced.
LIB=$(dirname "${BASH_SOURCE[0]}")
. "$LIB/common.sh"
. "$LIB/ns.sh"
. "$LIB/host.sh"
. "$LIB/root.sh"
. "$LIB/kernels.sh"
. "$LIB/debug-kernel.sh"
. "$LIB/peers.sh"
. "$LIB/clients.sh"
. "$LIB/guest.sh"
. "$LIB/module.sh"
. "$LIB/selftests.sh"
. "$LIB/bench.sh"
. "$LIB/hostile.sh"

# Host, caches and root, each made if it is not there.
env_ensure() {
	cache_dirs
	# held as long as this run lives: the cache is in use
	exec {USE_FD}>"$CACHE/locks/use"
	flock -s "$USE_FD"
	host_check
	root_ensure
}

# in_root [--modules FOLDER] [--workdir DIR] -- COMMAND...
in_root() { ns_run bash "$SCRIPTS/lib/enter.sh" "$ROOT" "$@"; }
