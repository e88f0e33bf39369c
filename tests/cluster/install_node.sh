#!/usr/bin/env bash
# Slurm, Apptainer and Snakemake, in a root file system of Debian: install_node.sh MIRROR WHEELS
set -euo pipefail
# Apptainer is in no release of Debian; its unstable suite is used for it alone. Mirrors may lag.
echo "deb [check-valid-until=no] $1 sid main" >/etc/apt/sources.list.d/sid.list
printf 'Package: *\nPin: release n=sid\nPin-Priority: 100\n' >/etc/apt/preferences.d/sid
{
    apt-get -qq update &&
        apt-get -qq install -y --no-install-recommends iproute2 munge slurm-client slurm-wlm &&
        apt-get -qq install -y --no-install-recommends -t sid apptainer
} || exit 75 # cannot be fetched

python3 -m venv /opt/submit
/opt/submit/bin/pip install --quiet --no-index --no-deps "$2"/*.whl
