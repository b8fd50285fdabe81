#!/bin/bash
# Mounts what belongs into the root and runs a command there, in the private
# namespaces that ns_run made.
# enter.sh ROOT [--modules FOLDER] [--workdir DIR] -- COMMAND...
set -euo pipefail
root=$1
shift
modules='' workdir=$IN_SRC
while [ "$1" != -- ]; do
	case $1 in
	--modules) modules=$2 ;;
	--workdir) workdir=$2 ;;
	*) echo "enter.sh: unknown option $1" >&2; exit 2 ;;
	esac
	shift 2
done
shift

# Made a mount of its own, to be read-only in here.
mount --bind "$root" "$root"
cd "$root"

mount -t tmpfs -o mode=755 dev dev
for node in null zero full random urandom tty kvm; do
	[ -e /dev/$node ] || continue
	: >dev/$node
	mount --bind /dev/$node dev/$node
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=0620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs -o mode=1777 shm dev/shm
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr

mount --rbind /proc proc
mount --rbind /sys sys
mount -t tmpfs -o mode=1777 tmp tmp
mount -t tmpfs -o mode=755 run run
mount --bind "$REPO" src
mount --bind "$CACHE" cache
[ -z "$modules" ] || mount --bind "$modules" usr/lib/modules

# What a guest sees: the root without the host's /proc, /sys and /dev.
if [ -n "$modules" ]; then
	mkdir run/guest
	mount --bind "$root" run/guest
	mount --bind "$REPO" run/guest/src
	mount --bind "$CACHE" run/guest/cache
	mount --bind "$modules" run/guest/usr/lib/modules
fi

# The host's name service and certificates: a company's proxy may have an
# authority of its own.
mkdir -p run/host
for file in /etc/resolv.conf /etc/ssl/certs/ca-certificates.crt; do
	[ ! -s "$file" ] || cat "$file" >"run/host/${file##*/}"
done
if [ -e run/host/resolv.conf ]; then
	mount --bind run/host/resolv.conf etc/resolv.conf
fi
certs=/etc/ssl/certs/ca-certificates.crt
[ ! -e run/host/ca-certificates.crt ] || certs=/run/host/ca-certificates.crt

# The rest of the root is not to be changed by what runs in it.
mount -o remount,bind,ro "$root" 2>/dev/null || true

keep=()
[ ! -e "$CACHE/apt/apt.conf" ] || keep+=("APT_CONFIG=$IN_CACHE/apt/apt.conf")
for name in TERM LANG COLUMNS LINES V CI http_proxy https_proxy no_proxy HTTP_PROXY \
	HTTPS_PROXY NO_PROXY SOURCE_DATE_EPOCH; do
	[ -z "${!name:-}" ] || keep+=("$name=${!name}")
done
for name in $(compgen -e RVDPA_); do keep+=("$name=${!name}"); done

# cd first: chroot keeps the working directory only if it is inside.
exec chroot "$root" /usr/bin/env -i -C "$workdir" \
	PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
	HOME=/tmp LC_ALL=C.UTF-8 IN_SRC="$IN_SRC" IN_CACHE="$IN_CACHE" \
	CARGO_HOME="$IN_CACHE/cargo/home" CARGO_TARGET_DIR="$IN_TARGET" \
	CARGO_HTTP_CAINFO=$certs SSL_CERT_FILE=$certs \
	CARGO_RESOLVER_INCOMPATIBLE_RUST_VERSIONS=fallback \
	"${keep[@]}" "$@"
