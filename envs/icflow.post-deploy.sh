#!/usr/bin/env bash
# Run by Snakemake in the new environment, in the folder where Snakemake was started.
set -euo pipefail
python -m pip install --constraint constraints.txt "$(grep '^torch==' constraints.txt)"
python -m pip install --constraint constraints.txt .
