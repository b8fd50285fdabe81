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
