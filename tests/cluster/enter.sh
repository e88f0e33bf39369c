#!/usr/bin/env bash
# Run a command in a root file system as on a machine of its own: enter.sh ROOT SHARED COMMAND...
#
# Mounts, processes, host name and (with OFFLINE=1) network are private; they end with the command
# and with the process that started it. SHARED is a folder that has the same path inside.
# Apptainer works here, in a plain chroot not.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin  # pivot_root is there, where not everybody looks
network=()
if [ "${OFFLINE:-}" = 1 ]; then network=(--net); fi
mkdir -p "$1/host" "$1$2"
exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child --ipc --uts "${network[@]}" --propagation private \
    bash -c '
        set -e
        root=$1 shared=$2
        shift 2
        echo node >/proc/sys/kernel/hostname
        mount --bind "$root" "$root"
        mount -t proc proc "$root/proc"
        mount --rbind /sys "$root/sys"
        mount --rbind /dev "$root/dev"
        mount --bind "$shared" "$root$shared"
        cd "$root"
        pivot_root . host
        cd /
        umount --lazy /host
        exec env --ignore-environment HOME=/root LANG=C.UTF-8 TMPDIR=/tmp \
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            DEBIAN_FRONTEND=noninteractive APPTAINER_NO_PRIVS=1 "$@"
    ' enter "$@"
