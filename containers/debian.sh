#!/usr/bin/env bash
# icflow.sif without an image registry:
#   containers/debian.sh FOLDER && apptainer build containers/icflow.sif FOLDER.def
#
# FOLDER becomes a root file system with all that icflow.def would install, FOLDER.def what is
# left to do of that definition. A FOLDER that debian_base.sh has made already is taken as it is.
# Debian's base system comes from the mirror of this machine's own apt sources, Python packages
# from pip as it is configured here. Needs root, and a Debian or Ubuntu with apt. See README.md.
set -euo pipefail
PYTHON=${PYTHON:-.venv/bin/python}

root=$(realpath --canonicalize-missing "$1")
cd "$(dirname "$0")/.."
PYTHON=$(command -v "$PYTHON")
if [ ! -e "$root/etc/debian_version" ]; then containers/debian_base.sh "$root"; fi

# pip here knows its ways to the packages; the Python in there installs them.
mkdir -p "$root/opt/source"
cp -rL --parents containers/install.sh constraints.txt pyproject.toml README.md LICENSE src \
    "$root/opt/source"
(
    cd "$root/opt/source"
    "$PYTHON" -m pip wheel --quiet --wheel-dir wheels --constraint constraints.txt \
        "$(grep '^torch==' constraints.txt)" 'setuptools>=77' . || {
        echo "debian.sh: pip cannot fetch the packages of constraints.txt" >&2
        exit 75 # the status of what cannot be fetched
    }
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
