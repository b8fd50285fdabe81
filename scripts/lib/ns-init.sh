#!/bin/bash
# Process 1 of the private namespaces that ns_run makes. Runs the command given
# and, when it ends or the lifeline (descriptor 9) is cut, ends all the rest.

# A fresh /proc shows only what runs in here. Where the machine does not allow
# it (a container with parts of /proc covered) the old one stays in place.
mount -t proc proc /proc 2>/dev/null

{
	read -r -u 9 _
	kill -TERM -1
	for _ in $(seq 30); do
		sleep 0.1
		# only process 1, this one and its substitution are left
		[ "$(set -- /proc/[0-9]*; echo $#)" -gt 3 ] || break
	done
	kill -KILL -1
} </dev/null >/dev/null 2>&1 &

"$@" <&0 9<&- &
wait $!
