#!/usr/bin/env bash
# icflow.sif without an image registry:
#   containers/debian.sh FOLDER && apptainer build containers/icflow.sif FOLDER.def
#
# FOLDER becomes a root file system with all that icflow.def would install, FOLDER.def what is
# left to do of that definition.
# Debian's base system comes from the mirror of this machine's own apt sources, Python packages
# from pip as it is configured here. Needs root, and a Debian or Ubuntu with apt. See README.md.
set -euo pipefail
SUITE=bookworm # its Python is 3.11, that of constraints.txt
PYTHON=${PYTHON:-.venv/bin/python}

# What cannot be fetched ends with a status of its own.
fetch() {
    "$@" || {
        echo "debian.sh: failed: $*" >&2
        exit 75
    }
}

root=$(realpath --canonicalize-missing "$1")
cd "$(dirname "$0")/.."
PYTHON=$(command -v "$PYTHON")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p "$root"

# The first Debian archive among the sources; every mirror of it holds all suites.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' |
    awk '$2 == "main" && $1 ~ /\/debian\/?$/ { print $1; exit }')
if [ -z "$mirror" ]; then
    echo "debian.sh: apt's sources name no Debian archive" >&2
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

# pip here knows its ways to the packages; the Python in there installs them.
mkdir -p "$root/opt/source"
cp -r --parents containers/install.sh constraints.txt pyproject.toml README.md LICENSE src \
    "$root/opt/source"
(
    cd "$root/opt/source"
    fetch "$PYTHON" -m pip wheel --quiet --wheel-dir wheels --constraint constraints.txt \
        "$(grep '^torch==' constraints.txt)" 'setuptools>=77' .
)
chroot "$root" env --chdir=/opt/source PIP_NO_INDEX=1 PIP_FIND_LINKS=wheels \
    sh containers/install.sh /opt/icflow
rm -r "$root/opt/source"

awk -v root="$root" '
    /^#/ { next }
    /^Bootstrap:/ { $2 = "localimage" }
    /^From:/ { $2 = root }
    /^%/ { skip = ($1 == "%files" || $1 == "%post") }
    !skip
' containers/icflow.def >"$root.def"
