# shellcheck shell=bash
# The Rust workspace under selftests/: host tests and what runs in guests. Sourced.

# The programs for guests, in Cargo's release folder.
selftests_build() {
	[ -e "$REPO/selftests/Cargo.toml" ] || return 0
	cargo_config
	with_lock "cargo-$CLONE_ID"
	step selftests-build 0 "Building the guest's test programs" \
		in_root -- cargo build --release --locked --manifest-path selftests/Cargo.toml --workspace || exit 1
	unlock
}

# The user's own settings for where crates come from hold in the root too; those
# about compilers do not fit there.
cargo_config() {
	local from=${CARGO_HOME:-$HOME/.cargo}/config.toml to=$CACHE/cargo/home/config.toml
	mkdir -p "${to%/*}"
	if [ -e "$from" ]; then
		awk '/^\[/ { on = /^\[(source|registry|registries|http|net)[].]/ } on' "$from" >"$to"
	else
		rm -f "$to"
	fi
}

# add_counts PASSED FAILED SKIPPED
PASSED=0 FAILED=0 SKIPPED=0
add_counts() {
	PASSED=$((PASSED + $1)) FAILED=$((FAILED + $2)) SKIPPED=$((SKIPPED + $3))
}
closing_line() { echo "$PASSED passed, $FAILED failed, $SKIPPED skipped"; }

# take_counts OUTPUT STATUS WHAT: adds what a test program for guests has printed and its status
# tell, which closes with "N passed, N failed, N skipped".
take_counts() {
	local line passed failed skipped
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$' "$1" | tail -n 1) || true
	if [ -n "$line" ]; then
		read -r passed _ failed _ skipped _ <<<"$line"
		add_counts "$passed" "$failed" "$skipped"
	else
		# count what it said until then
		add_counts "$(grep -cE '^ok ' "$1")" "$(grep -cE '^not ok ' "$1")" 0
		warn "$3 did not come to their end (status $2)"
	fi
	[ -n "$line" ] && [ "$2" -eq 0 ] || [ "$FAILED" -gt 0 ] || FAILED=1
}

# end_counts [--counts FILE]: prints the closing line, or leaves the counts in a file; fails if
# anything failed.
end_counts() {
	if [ "${1:-}" = --counts ] && [ -n "${2:-}" ]; then
		echo "$PASSED $FAILED $SKIPPED" >"$2"
	else
		closing_line
	fi
	[ "$FAILED" -eq 0 ]
}
