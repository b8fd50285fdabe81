# shellcheck shell=bash
# The driver that plays foul: runs its cases in guests, as many as it takes. Sourced.

# The last line of a kind of a file of results, or nothing.
hostile_last() { grep "^$1|" "$2" | tail -n 1 || true; }

# hostile_run rvdpa|peer FILE: runs all cases, or those that GUEST_TESTS names, with devices
# of one of the two (each case once if HOSTILE_QUICK is set), and writes what the program says to FILE as it comes. Where the kernel is
# of no more use, it goes on in a new guest, behind the case that has done it.
hostile_run() {
	local parent=$1 file=$2 from=1 guests=0 failed=0 status started='' ended last
	local console=$LOGS/hostile-$parent
	rm -f "$console".*.console
	: >"$file"
	while :; do
		status=0 last=$started
		guests=$((guests + 1))
		# shellcheck disable=SC2086 # words are meant
		"$SCRIPTS/guest" --kernel "$RELEASE" --timeout "${GUEST_TIMEOUT:-3000}" \
			--log "$console.$guests.console" --append rvdpa.hotplug=off -- \
			rvdpa-hostile --parent "$parent" --from "$from" ${HOSTILE_QUICK:+--quick} \
			${GUEST_TESTS:-} \
			2>&1 | tee -a "$file" | hostile_show || status=$?
		started=$(hostile_last start "$file") ended=$(hostile_last case "$file")
		case $status in
		0 | 1)
			grep -qE '^[0-9]+ held, ' "$file" || return 1
			break
			;;
		2) [ "$from" -gt 1 ] || return 1; break ;;
		3) ;;
		124 | 125)
			# A guest that has started no case is tried again: no case has done it.
			if [ "$started" = "$last" ]; then
				failed=$((failed + 1))
				[ "$failed" -lt 3 ] || return 1
				continue
			fi
			# Of what was started last nobody has told the end.
			ended="case|${started#start|}|$(hostile_death "$status")"
			echo "$ended" >>"$file"
			;;
		*) return 1 ;;
		esac
		from=$(($(cut -d'|' -f2 <<<"$ended") + 1))
		note "another guest, from case $from on"
	done
	note "$guests guests; their console logs: $console.*.console"
}

hostile_death() {
	case $1 in
	124) echo 'hang|the whole machine stood still' ;;
	125) echo 'complaint|the kernel panicked, and the machine with it' ;;
	esac
}

# Of what the program says: what did not hold.
hostile_show() { grep --line-buffered -E '^(case|after)\|' | grep --line-buffered -v '|held|' || true; }

# hostile_count FILE: adds to the counts.
hostile_count() {
	local held offered other
	held=$(grep -cE '^case\|.*\|held\|' "$1") || true
	offered=$(grep -cE '^case\|.*\|not offered\|' "$1") || true
	other=$(grep -E '^(case|after)\|' "$1" | grep -cvE '\|(held|not offered)\|') || true
	add_counts "$held" "$other" "$offered"
}
