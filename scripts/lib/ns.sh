# shellcheck shell=bash
# Private namespaces: everything that mounts or starts processes runs in them,
# so that nothing is left when it ends, however it ends. Sourced.

# ns_run COMMAND...: runs a command of the host as root of its own mount and
# process namespaces (and user namespace, for an ordinary user).
#
# The lifeline is a pipe of which this shell holds the writing end: when this
# shell dies (Ctrl-C, SIGTERM, even SIGKILL) ns-init reads end-of-file and stops
# everything inside, politely first: make then removes half-written files.
ns_run() {
	local flags=(--mount --pid --fork --kill-child --ipc) fifo life end pid status=0
	[ "$(id -u)" = 0 ] || flags+=(--user --map-root-user --map-auto)

	fifo=$(mktemp -u "$CACHE/run/lifeline.XXXXXX")
	mkfifo -m 600 "$fifo"
	# shellcheck disable=SC2094 # both ends of one pipe
	exec {life}<>"$fifo" {end}<"$fifo"
	rm "$fifo"
	unshare "${flags[@]}" bash "$SCRIPTS/lib/ns-init.sh" "$@" \
		9<&"$end" <&0 {life}>&- {end}<&- &
	pid=$!
	exec {end}<&-
	trap 'exec {life}>&-; wait "$pid" || true
		printf "\nstopped; the same command goes on from here\n" >&"$STDERR"
		exit 130' INT TERM HUP
	wait "$pid" || status=$?
	trap - INT TERM HUP
	exec {life}>&-
	return "$status"
}
