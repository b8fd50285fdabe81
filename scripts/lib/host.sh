# shellcheck shell=bash
# What the host itself must have. Sourced.

# command:package pairs of Debian
HOST_NEEDS=(mmdebstrap:mmdebstrap unshare:util-linux flock:util-linux
	make:make xz:xz-utils)

host_check() {
	local pair missing=() needs=("${HOST_NEEDS[@]}")
	[ "$(uname -m)" = x86_64 ] ||
		die "this machine is $(uname -m); only x86_64 (Debian's amd64) is supported"
	# An ordinary user needs newuidmap to have more than one user id.
	[ "$(id -u)" = 0 ] || needs+=(newuidmap:uidmap)
	for pair in "${needs[@]}"; do
		command -v "${pair%%:*}" >/dev/null || missing+=("${pair#*:}")
	done
	if [ ${#missing[@]} -gt 0 ]; then
		command -v apt-get >/dev/null || die \
			"missing on this machine: ${missing[*]}" \
			"This is not a Debian machine; install them by its own means."
		if [ "$(id -u)" = 0 ]; then
			step host-packages 0 "Installing on this machine: ${missing[*]}" \
				host_install "${missing[@]}" || exit 1
		else
			die "missing on this machine: ${missing[*]}" "Run this, then try again:" \
				"  sudo apt-get install --no-install-recommends ${missing[*]}"
		fi
	fi
	[ "$(id -u)" = 0 ] || host_check_userns
}

host_install() {
	apt-get update &&
		DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"
}

# Can this ordinary user have a user namespace with a range of ids?
host_check_userns() {
	local me
	me=$(id -un)
	grep -qE "^($me|$(id -u)):" /etc/subuid 2>/dev/null &&
		grep -qE "^($me|$(id -u)):" /etc/subgid 2>/dev/null ||
		die "user $me has no range of subordinate ids (/etc/subuid, /etc/subgid)" \
		    "Run this, then try again:" \
		    "  sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $me"
	unshare --help | grep -q -- --map-auto ||
		die "unshare is older than util-linux 2.38 (no --map-auto)" \
		    "Use Debian 12 or newer, or run as root."
	unshare --user --map-root-user --map-auto true 2>"$CACHE/run/userns.err" ||
		die "this machine does not let an ordinary user make user namespaces:" \
		    "  $(cat "$CACHE/run/userns.err")" \
		    "Allow it (sysctl kernel.unprivileged_userns_clone=1, or AppArmor's" \
		    "apparmor_restrict_unprivileged_userns=0), or run as root."
}

# host_check_disk GB: called before something large is made.
host_check_disk() {
	local free need=$1
	free=$(df --output=avail -k "$CACHE" | tail -n 1)
	[ "$free" -ge $((need * 1024 * 1024)) ] ||
		die "only $((free / 1024 / 1024)) GB of disk are free at $CACHE; $need GB are needed" \
		    "Free some space, or set XDG_CACHE_HOME to a place that has it."
}

# The mirror to use: MIRROR, else the one this machine's apt uses when that is a
# Debian mirror of the user's own; empty stands for mmdebstrap's own default.
host_mirror() {
	local uri
	if [ -n "${MIRROR:-}" ]; then
		printf '%s\n' "$MIRROR"
		return
	fi
	command -v apt-get >/dev/null || return 0
	# shellcheck disable=SC2016 # apt fills these in
	uri=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' \
		'Created-By: Packages' 'Origin: Debian' 'Label: Debian' \
		'Component: main' 2>/dev/null |
		awk '$2 !~ /-/ {print $1; exit}') || return 0
	uri=${uri%/}
	# Only mirrors that anything in the root can use too: no cdrom:, no
	# file:, no apt methods that need their own packages.
	case $uri in http://* | https://*) ;; *) return 0 ;; esac
	# mmdebstrap is a script that names its default mirror.
	grep -qF "'$uri'" "$(command -v mmdebstrap)" || printf '%s\n' "$uri"
}
