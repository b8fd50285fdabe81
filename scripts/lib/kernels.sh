# shellcheck shell=bash
# Which kernel, and its prepared tree. Sourced.
#
# kernels/<release>/modules/<release>/  the modules and vmlinuz of Debian's packages
# kernels/<release>/build/              the prepared tree to build modules against
# kernels/<release>/stamp               written last: what it was made from

. "$SCRIPTS/kernels.conf"

# kernel_choose SELECTION: sets RELEASE (and KERNEL_VERSION, Debian's version).
# The choice is recorded and stays until `make setup` looks again, so that
# nothing needs the network once it is made.
kernel_choose() {
	local want=${1:-} record
	[ "$want" != running ] || want=$(uname -r)
	case $want in
	debug | *-debug-amd64) debug_choose "$want"; return ;;
	rt) kernel_choose ''; want=${RELEASE%-amd64}-rt-amd64 ;;
	esac
	record=$CACHE/kernels/picked-${want:-newest}
	if [ -n "${KERNEL_REFRESH:-}" ] || ! { read -r RELEASE KERNEL_VERSION <"$record"; } 2>/dev/null; then
		kernel_lists
		kernel_pick "$want" || exit 1
		printf '%s %s\n' "$RELEASE" "$KERNEL_VERSION" >"$record.$$"
		mv "$record.$$" "$record"
		# by its full name too: other scripts ask for it so
		[ "$want" = "$RELEASE" ] || cp "$record" "$CACHE/kernels/picked-$RELEASE"
		say "Kernel: $RELEASE (Debian's $KERNEL_VERSION)"
	fi
	kernel_name "$RELEASE"
}
kernel_name() {
	RELEASE=$1
	KERNELDIR=$CACHE/kernels/$RELEASE
	IN_TREE=$IN_CACHE/kernels/$RELEASE/build
	export RELEASE
}

APT=(apt-get -q -o Dir::State::lists="$IN_CACHE/apt/lists" -o Dir::Cache="$IN_CACHE/apt/cache")
APT_CACHE=(apt-cache -o Dir::State::lists="$IN_CACHE/apt/lists" -o Dir::Cache="$IN_CACHE/apt/cache")

# Debian's package lists, once per run.
kernel_lists() {
	[ -z "${LISTS_DONE:-}" ] || return 0
	mkdir -p "$CACHE"/apt/{lists,cache}/partial
	kernel_mirror
	step apt-lists 0 "Reading Debian's package lists" kernel_lists_update ||
		{ [ -n "$(kernel_releases)" ] && warn "using the package lists of an earlier run"; } || exit 1
	LISTS_DONE=1
}
# MIRROR= holds for a root that was made from another one too.
kernel_mirror() {
	if [ -n "${MIRROR:-}" ]; then
		printf 'deb %s %s main\n' "$MIRROR" "$ROOT_SUITE" "$MIRROR" "$ROOT_SUITE-backports" \
			>"$CACHE/apt/sources.list"
		printf 'Dir::Etc::sourcelist "%s/apt/sources.list";\nDir::Etc::sourceparts "-";\n' \
			"$IN_CACHE" >"$CACHE/apt/apt.conf"
	else
		rm -f "$CACHE"/apt/{sources.list,apt.conf}
	fi
}
# apt-get update answers 0 when it could read nothing at all.
kernel_lists_update() {
	in_root -- "${APT[@]}" -o APT::Update::Error-Mode=any update
}

# Releases on the mirror that have headers, newest first.
kernel_releases() {
	in_root -- "${APT_CACHE[@]}" pkgnames linux-headers- |
		sed -nE 's/^linux-headers-([0-9]+\.[0-9]+\.[0-9]+.*-amd64)$/\1/p' | sort -rV
}

kernel_pick() {
	local want=$1 all series found newest
	all=$(kernel_releases)
	[ -n "$all" ] || die "the mirror's lists name no kernels" \
		"Look at $LOGS/apt-lists.log; another mirror can be given with MIRROR=."
	newest=$(grep -E '^[0-9.]+\+[^-]*-amd64$' <<<"$all" | head -n 1)
	case $want in
	'')
		series_is_newer "$(series_of "$newest")" "${SUPPORTED_SERIES[0]}" &&
			note "kernel $newest is newer than what this version of rvdpa_sim knows;" &&
			note "KERNEL=$newest tries it anyway"
		for series in "${SUPPORTED_SERIES[@]}"; do
			found=$(kernel_newest_of "$series" <<<"$all")
			[ -z "$found" ] || break
			note "series $series is not on the mirror (any more)"
		done
		[ -n "$found" ] || die "none of the supported series (${SUPPORTED_SERIES[*]}) is on the mirror" \
			"The newest kernel there is $newest: try KERNEL=$newest," \
			"or look for a newer version of rvdpa_sim."
		;;
	[0-9]*.[0-9]*.[0-9]*)
		found=$(grep -xF "$want" <<<"$all") || die \
			"the mirror has no kernel $want$([ "$want" != "$(uname -r)" ] || echo ', which this machine runs')" \
			"$(kernel_gone "$want" "$all")" \
			"A kernel of your own: make KDIR=/path/to/its/tree"
		[[ " ${SUPPORTED_SERIES[*]} " = *" $(series_of "$want") "* ]] ||
			warn "series $(series_of "$want") is not supported (${SUPPORTED_SERIES[*]} are); trying"
		;;
	[0-9]*.[0-9]*)
		[[ " ${SUPPORTED_SERIES[*]} " = *" $want "* ]] || die \
			"series $want is not supported; ${SUPPORTED_SERIES[*]} are" \
			"A full release is tried whatever its series: KERNEL=$(kernel_newest_of "$want" <<<"$all" | grep . || echo "$newest")"
		found=$(kernel_newest_of "$want" <<<"$all")
		[ -n "$found" ] || die "series $want is no longer on the mirror" \
			"Supported: ${SUPPORTED_SERIES[*]}; on the mirror: $(series_list "$all")"
		;;
	*) die "KERNEL=$want is neither a series (7.3), a release (7.3.4+deb13-amd64) nor 'running', 'rt' or 'debug'" ;;
	esac
	RELEASE=$found
	KERNEL_VERSION=$(in_root -- "${APT_CACHE[@]}" show --no-all-versions "linux-headers-$RELEASE" |
		sed -n 's/^Version: //p' | head -n 1)
}

series_of() { cut -d. -f1,2 <<<"$1"; }
series_is_newer() { [ "$1" != "$2" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | tail -n 1)" = "$1" ]; }
series_list() { cut -d. -f1,2 <<<"$1" | sort -urV | paste -sd' '; }
# The plain flavour's newest patch level of a series, of the list on stdin.
kernel_newest_of() { grep -E "^${1//./\\.}\.[0-9]+\+[^-]*-amd64\$" | head -n 1 || true; }
# What is there of the same series and flavour?
kernel_gone() {
	local near
	near=$(grep -E "^$(series_of "$1")\." <<<"$2" | paste -sd' ') || true
	if [ -n "$near" ]; then
		echo "Of that series it has: $near"
	else
		echo "It has the series $(series_list "$2")"
	fi
}

# What a tree is made from: the scripts that make it, and the compilers.
kernel_stamp() {
	[ -z "$(debug_base "$RELEASE")" ] || { debug_stamp; return; }
	{
		echo "$RELEASE $KERNEL_VERSION"
		cat "$SCRIPTS/inside/kernel-unpack" "$SCRIPTS/inside/kernel-prepare"
		awk '/^Package: / { p = $2 } /^Version: / && p ~ /^(rustc|gcc-14|bindgen|pahole)$/ { print p, $2 }' \
			"$ROOT/var/lib/dpkg/status"
	} | sha256sum | cut -c1-16
}

# Makes the tree of RELEASE if it is not there, complete and up to date.
kernel_ensure() {
	local stamp
	[ -z "$(debug_base "$RELEASE")" ] || { debug_ensure; return; }
	stamp=$(kernel_stamp)
	[ "$(cat "$KERNELDIR/stamp" 2>/dev/null)" != "$stamp" ] || return 0
	with_lock "kernel-$RELEASE"
	if [ "$(cat "$KERNELDIR/stamp" 2>/dev/null)" != "$stamp" ]; then
		host_check_disk 3
		# a tree begun by the same recipe is gone on with
		if [ "$(cat "$KERNELDIR/begun" 2>/dev/null)" != "$stamp" ]; then
			ns_run rm -rf "$KERNELDIR"
			mkdir -p "$KERNELDIR"
			echo "$stamp" >"$KERNELDIR/begun"
		fi
		if [ ! -e "$KERNELDIR/unpacked" ]; then
			kernel_lists
			step "kernel-$RELEASE-unpack" 0 "Fetching kernel $RELEASE" \
				in_root -- "$IN_SRC/scripts/inside/kernel-unpack" "$RELEASE" "$KERNEL_VERSION" || exit 1
		fi
		step "kernel-$RELEASE-prepare" 230 \
			"Preparing the tree of $RELEASE with its Rust metadata (about 3 minutes)" \
			in_root -- "$IN_SRC/scripts/inside/kernel-prepare" "$RELEASE" "$KERNEL_VERSION" || exit 1
		echo "$stamp" >"$KERNELDIR/stamp"
	fi
	unlock
}

# Both at once: RELEASE chosen, and its tree there.
kernel_ready() {
	kernel_choose "${KERNEL:-}"
	kernel_ensure
}
