#!/usr/bin/env bash
# A SLURM cluster of this one machine, for tests: installs Debian's packages where they are missing, then starts munge,
# slurmctld and slurmd, and waits until the node is idle.  As root.  start_slurm.sh stop ends them again.
set -euo pipefail

if [ "${1:-start}" = stop ]; then
    for name in slurmd slurmctld munged; do pkill -x "$name" || true; done
    exit 0
fi
[ "$(id -u)" = 0 ] || { echo "SLURM is installed and started as root; found user $(id -un)"; exit 1; }
if ! command -v slurmctld slurmd sbatch munged > /dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge
fi

mkdir -p /etc/slurm /var/spool/slurmctld /var/spool/slurmd /var/log/slurm /run/munge
cat > /etc/slurm/slurm.conf <<CONF
ClusterName=mini
SlurmctldHost=localhost(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=/var/log/slurm/slurmctld.log
SlurmdLogFile=/var/log/slurm/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
# The queue is the only record of ended jobs.
MinJobAge=300
NodeName=localhost NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$(awk '/MemTotal/ {print int($2 * 0.7 / 1024)}' /proc/meminfo) State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
chown munge:munge /run/munge
pgrep -x munged > /dev/null || runuser -u munge -- /usr/sbin/munged
pgrep -x slurmctld > /dev/null || slurmctld -c
pgrep -x slurmd > /dev/null || slurmd -N localhost
for _ in $(seq 60); do
    [ "$(sinfo --noheader --format=%T 2> /dev/null)" = idle ] && exit 0
    sleep 1
done
echo "the node is not idle after a minute:"
sinfo --all || true
tail /var/log/slurm/*.log
exit 1
