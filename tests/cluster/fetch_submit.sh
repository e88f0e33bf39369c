#!/usr/bin/env bash
# The packages that submit jobs, without torch, which is in the image alone: fetch_submit.sh FOLDER
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p "$1/source"
cp -r --parents constraints.txt pyproject.toml README.md LICENSE src "$1/source"
"$PYTHON" -m pip wheel --quiet --wheel-dir "$1" --constraint constraints.txt \
    "$(grep '^torch==' constraints.txt)" "$1/source[slurm]" || exit 75
rm -r "$1/source" "$1"/torch-*.whl
