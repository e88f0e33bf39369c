#!/bin/sh
# Install icflow and its packages, in the pinned versions: install.sh FOLDER, with the project's
# sources in the current folder. FOLDER becomes a virtual environment. TORCH_INDEX, where it is
# set, is the package index that torch comes from.
set -eu
python3 -m venv "$1"
"$1/bin/pip" install --no-cache-dir --constraint constraints.txt \
    ${TORCH_INDEX:+--index-url "$TORCH_INDEX"} "$(grep '^torch==' constraints.txt)"
"$1/bin/pip" install --no-cache-dir --constraint constraints.txt .
