#!/usr/bin/env bash
# A root file system of Debian 12 with Python: debian_base.sh FOLDER. The first part of debian.sh.
# Packages come from the mirror of this machine's own apt sources. Needs root, and apt.
set -euo pipefail
SUITE=bookworm # its Python is 3.11, that of constraints.txt

# What cannot be fetched ends with a status of its own.
fetch() {
    "$@" || {
        echo "debian_base.sh: failed: $*" >&2
        exit 75
    }
}

root=$(realpath --canonicalize-missing "$1")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$root"

# The first Debian archive among the sources; every mirror of it holds all suites.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' |
    awk '$2 == "main" && $1 ~ /\/debian\/?$/ { print $1; exit }')
if [ -z "$mirror" ]; then
    echo "debian_base.sh: apt's sources name no Debian archive" >&2
    exit 75
fi

if ! command -v debootstrap >/dev/null; then
    fetch apt-get -qq update
    (cd "$scratch" && fetch apt-get -qq download debootstrap)
    dpkg-deb --extract "$scratch"/debootstrap_*.deb "$scratch"
    export DEBOOTSTRAP_DIR=$scratch/usr/share/debootstrap PATH=$PATH:$scratch/usr/sbin
fi
fetch debootstrap --variant=minbase --include=ca-certificates,python3-venv \
    "$SUITE" "$root" "$mirror"
echo "127.0.0.1 localhost" >"$root/etc/hosts"
