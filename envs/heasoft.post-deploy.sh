#!/usr/bin/env bash
# Run by Snakemake in the new environment, in the folder where Snakemake was started: that of
# the sources, or of a project, and then ICFLOW_SOURCE names that of the sources.
# icflow has packages of its own, and its engine starts this environment's Python for XSPEC.
set -euo pipefail
cd "${ICFLOW_SOURCE:-.}"
test -f pyproject.toml ||
    { echo "set ICFLOW_SOURCE to the folder of icflow's sources" >&2 && exit 1; }
sh containers/install.sh "$CONDA_PREFIX/icflow"
ln -s ../icflow/bin/icflow "$CONDA_PREFIX/bin/icflow"
mkdir -p "$CONDA_PREFIX/etc/conda/activate.d"
echo "export ICFLOW_XSPEC_PYTHON=$CONDA_PREFIX/bin/python" \
    >"$CONDA_PREFIX/etc/conda/activate.d/icflow.sh"
