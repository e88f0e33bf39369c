#!/usr/bin/env bash
# Run by Snakemake in the new environment: installs the icflow that Snakemake runs with, whose
# command is still the one that is found.
# icflow has packages of its own, and its engine starts this environment's Python for XSPEC.
set -euo pipefail
source=$(mktemp -d)
trap 'rm -rf "$source"' EXIT
icflow source "$source"
cd "$source"
sh containers/install.sh "$CONDA_PREFIX/icflow"
ln -s ../icflow/bin/icflow "$CONDA_PREFIX/bin/icflow"
mkdir -p "$CONDA_PREFIX/etc/conda/activate.d"
echo "export ICFLOW_XSPEC_PYTHON=$CONDA_PREFIX/bin/python" \
    >"$CONDA_PREFIX/etc/conda/activate.d/icflow.sh"
