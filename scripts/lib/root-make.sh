#!/bin/bash
# Makes the root; runs in the private namespaces.
# root-make.sh SUITE FOLDER PACKAGES MIRROR
set -euo pipefail
suite=$1 dir=$2 packages=$3 mirror=$4

chmod 755 "$dir"
# --mode=root is right in the user namespace of an ordinary user too.
# shellcheck disable=SC2086 # no mirror is no argument
mmdebstrap --verbose --mode=root --variant=apt --components=main --include="$packages" \
	--dpkgopt='path-exclude=/usr/share/man/*' \
	--dpkgopt='path-exclude=/usr/share/locale/*' \
	--dpkgopt='path-exclude=/usr/share/doc/*/*.gz' \
	--aptopt='APT::Sandbox::User "root"' \
	--aptopt='Acquire::Retries "3"' \
	"$suite" "$dir" $mirror

# The backports line is the line of the suite itself with another suite.
find "$dir/etc/apt" -name '*.list' -exec grep -hE "^deb .*[ /]$suite " {} + |
	head -n 1 | sed "s/ $suite / $suite-backports /" >"$dir/etc/apt/sources.list.d/backports.list"
grep -q backports "$dir/etc/apt/sources.list.d/backports.list"

# Mount points, and names that the guests need.
mkdir -p "$dir"/{src,cache,usr/lib/modules}
echo rvdpa >"$dir/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$dir/etc/hosts"
: >"$dir/etc/resolv.conf"
rm -rf "$dir"/var/cache/apt/archives/*.deb "$dir"/var/lib/apt/lists/*
