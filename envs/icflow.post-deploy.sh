#!/usr/bin/env bash
# Run by Snakemake in the new environment, in the folder where Snakemake was started: that of
# the sources, or of a project, and then ICFLOW_SOURCE names that of the sources.
set -euo pipefail
cd "${ICFLOW_SOURCE:-.}"
test -f pyproject.toml ||
    { echo "set ICFLOW_SOURCE to the folder of icflow's sources" >&2 && exit 1; }
python -m pip install --constraint constraints.txt "$(grep '^torch==' constraints.txt)"
python -m pip install --constraint constraints.txt .
