# shellcheck shell=bash
# What every script needs: paths, messages, steps with their logs, locks.
# Sourced, never run.

set -euo pipefail
# A make that called must not steer those that are called from here.
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
# chroot and others are in folders that an ordinary user's PATH has not.
export PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
SCRIPTS=$REPO/scripts
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/rvdpa_sim
export REPO SCRIPTS CACHE

# Where the root sees them. Fixed names keep this machine's paths out of what
# is built, and let every clone share the prepared kernel trees.
IN_SRC=/src
IN_CACHE=/cache

# Cargo's output is kept per clone: two clones must not fight over one folder.
CLONE_ID=$(printf '%s' "$REPO" | sha256sum | cut -c1-12)
# Of each clone: two may be at work at a time.
LOGS=$CACHE/logs/$CLONE_ID
TARGET=$CACHE/cargo/target-$CLONE_ID
IN_TARGET=$IN_CACHE/cargo/target-$CLONE_ID

export IN_SRC IN_CACHE IN_TARGET

# Where messages go even when a step's output goes to its log.
exec {STDERR}>&2

say()  { printf '%s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; }
# die MESSAGE...: each argument is a line; the first says what is wrong, the
# others what to do about it.
die() {
	printf 'error: %s\n' "$1" >&2
	shift
	[ $# -eq 0 ] || printf '       %s\n' "$@" >&2
	exit 1
}

# Folders are made on first use, so that `make help` leaves nothing behind.
cache_dirs() {
	mkdir -p "$CACHE"/{locks,kernels,sources,cargo,run} "$LOGS" "$TARGET" ||
		die "cannot write to the cache folder $CACHE" \
		    "Make it writable, or set XDG_CACHE_HOME to another place."
	# what runs that were killed left behind
	find "$CACHE/run" -mindepth 1 -maxdepth 1 -mtime +0 ! -name 'kvm-*' -exec rm -rf {} +
}

# with_lock NAME: takes an exclusive lock that is held until this shell ends.
# The second of two runs at a time says so and waits.
with_lock() {
	local fd
	exec {fd}>"$CACHE/locks/$1"
	if ! flock -n "$fd"; then
		note "another run is at work ($1); waiting for it"
		flock "$fd"
	fi
	LOCK_FD=$fd
}
unlock() { exec {LOCK_FD}>&-; }

# elapsed SECONDS: 75 -> "1 min 15 s"
elapsed() {
	if [ "$1" -ge 60 ]; then
		printf '%d min %d s' $(($1 / 60)) $(($1 % 60))
	else
		printf '%d s' "$1"
	fi
}

# step NAME LINES TEXT COMMAND...: runs COMMAND with its output in a log file;
# tells how far it is (LINES is about how many lines the log has at the end, 0
# if unknown) and how long it took. With V=1 the output is shown as it comes.
step() {
	local name=$1 lines=$2 text=$3 log start status=0 ticker
	shift 3
	mkdir -p "$LOGS"
	log=$LOGS/$name.log
	start=$SECONDS
	say "==> $text"
	if [ "${V:-}" = 1 ]; then
		"$@" 2>&1 | tee "$log" || status=$?
	else
		step_ticker "$log" "$lines" "$$" &
		ticker=$!
		# shellcheck disable=SC2064 # its value of now is meant
		trap "kill $ticker 2>/dev/null || true" EXIT
		"$@" >"$log" 2>&1 || status=$?
		trap - EXIT
		kill "$ticker" 2>/dev/null || true
		wait "$ticker" 2>/dev/null || true
		[ ! -t 1 ] || printf '\r\033[K'
	fi
	if [ "$status" -ne 0 ]; then
		printf 'error: "%s" failed after %s. Last lines of its log:\n' \
			"$text" "$(elapsed $((SECONDS - start)))" >&2
		tail -n 20 "$log" | sed 's/^/  | /' >&2
		printf '       The full log: %s\n' "$log" >&2
		step_hint "$log"
		return "$status"
	fi
	note "done in $(elapsed $((SECONDS - start)))"
}

# Progress: rewritten in place on a terminal, a line every 15 s elsewhere.
step_ticker() {
	local log=$1 lines=$2 parent=$3 start=$SECONDS ticks=0 have how
	while sleep 1 && kill -0 "$parent" 2>/dev/null; do
		ticks=$((ticks + 1))
		[ -t 1 ] || [ $((ticks % 15)) -eq 0 ] || continue
		have=$(wc -l <"$log" 2>/dev/null || echo 0)
		how="$have lines"
		if [ "$lines" -gt 0 ]; then
			have=$((have * 100 / lines))
			[ "$have" -le 99 ] || have=99
			how="about $have %"
		fi
		if [ -t 1 ]; then
			printf '\r\033[K    %s, %s' "$how" "$(elapsed $((SECONDS - start)))"
		else
			note "$how, $(elapsed $((SECONDS - start)))"
		fi
	done
}

# Says in plain words what the usual failures of a download mean.
step_hint() {
	if grep -qE 'Could not resolve|Temporary failure (in name )?resol|Network is unreachable|Could not connect|Connection (refused|timed out)|dns error|Unable to connect' "$1"; then
		printf '       %s\n' 'The network cannot be reached. Connect this machine, or name a Debian' \
			'mirror that it reaches with MIRROR=, and run the same command again:' \
			'what is already done is kept.' >&2
	elif grep -q 'No space left on device' "$1"; then
		printf '       The disk is full. Free some space and run the same command again.\n' >&2
	fi
}
