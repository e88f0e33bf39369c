#!/usr/bin/env bash
# Run by Snakemake in the new environment, in the folder where Snakemake was started.
# icflow has packages of its own, and its engine starts this environment's Python for XSPEC.
set -euo pipefail
sh containers/install.sh "$CONDA_PREFIX/icflow"
ln -s ../icflow/bin/icflow "$CONDA_PREFIX/bin/icflow"
mkdir -p "$CONDA_PREFIX/etc/conda/activate.d"
echo "export ICFLOW_XSPEC_PYTHON=$CONDA_PREFIX/bin/python" \
    >"$CONDA_PREFIX/etc/conda/activate.d/icflow.sh"
