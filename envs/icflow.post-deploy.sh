#!/usr/bin/env bash
# Run by Snakemake in the new environment: installs the icflow that Snakemake runs with, whose
# command is still the one that is found, and its packages in the pinned versions.
set -euo pipefail
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
icflow source "$source"
cd "$source"
python -m pip install --constraint constraints.txt "$(grep '^torch==' constraints.txt)"
python -m pip install --constraint constraints.txt .
