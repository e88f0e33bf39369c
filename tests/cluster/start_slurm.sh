#!/usr/bin/env bash
# Start a Slurm of one node, this one, without accounting, and stay: start_slurm.sh FOLDER
set -euo pipefail
mkdir -p "$1/state" "$1/spool"
sed "s#@FOLDER@#$1#" "$(dirname "$0")/slurm.conf" >/etc/slurm/slurm.conf
echo "127.0.0.1 localhost $(hostname)" >/etc/hosts
# Names resolve only where there is an address besides 127.0.0.1.
ip link set lo up
ip address add 127.0.0.2/8 dev lo

# Debian's package has made the key of munge.
install --directory --owner munge --group munge --mode 755 /run/munge
install --directory --owner munge --group munge --mode 700 /var/lib/munge /var/log/munge
runuser --user munge -- munged --force
munge --no-input | unmunge >/dev/null
slurmctld
slurmd
for _ in $(seq 100); do
    if [ "$(sinfo --noheader --format %T)" = idle ]; then
        echo ready
        # As the first process of the node it outlives the others, and buries them.
        sleep infinity &
        wait
    fi
    sleep 0.2
done
sinfo --long >&2
tail -n 20 "$1"/*.log >&2
exit 1
