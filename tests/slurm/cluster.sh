#!/usr/bin/env bash
# A SLURM of four nodes on this machine, for tests: as root, without systemd, all traffic on loopback. Two nodes are the
# default partition, and two, where things are broken, the partition `faults`.
#
#   cluster.sh foreign      say what shows that this host has a SLURM of its own, which is left alone; else nothing
#   cluster.sh start        configure and start it, and run a job on each node
#   cluster.sh stop         stop it and remove its configuration
#   cluster.sh lose NODE    a node is lost with all that runs on it, as by a power cut
#   cluster.sh return NODE  it comes back
#   cluster.sh pause        the controller goes away, while jobs run on
#   cluster.sh resume       the controller comes back
#
# The nodes of `faults` claim a GPU each. Needs Debian's slurmctld, slurmd, slurm-client, munge, slurmdbd, mariadb-server-core and mariadb-client-core.
set -euo pipefail
umask 022

STATE=/var/lib/insd-test-slurm
ETC=/etc/slurm
# First line of every file of ours in /etc/slurm: what lacks it belongs to a real SLURM and is never touched.
SIGNATURE='# Written by the tests of INSD'
HOST_ENTRY='# insd-test-slurm'
NODES=(n1 n2 n3 n4)
HOST=$(hostname -s)
FILES=(slurm.conf slurmdbd.conf cgroup.conf gres.conf)

fail() {
    echo "cluster.sh: $*" >&2
    tail -n 15 "$STATE"/log/*.log >&2 2>/dev/null || true
    exit 1
}

# until_true SECONDS WHAT COMMAND...
until_true() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" &>/dev/null; do
        ((SECONDS < deadline)) || fail "$what did not come up"
        sleep 0.3
    done
}

ours() { [ "$(head -n 1 "$1" 2>/dev/null)" = "$SIGNATURE" ]; }

foreign() {
    local file program
    if [ -n "${SLURM_CONF:-}" ]; then echo "SLURM_CONF is set, to $SLURM_CONF"; fi
    for file in "${FILES[@]}"; do
        if [ -e $ETC/$file ] && ! ours $ETC/$file; then echo "there is $ETC/$file"; fi
    done
    # What a node of a cluster keeps that has its configuration from the controller.
    for file in /run/slurm/conf /var/spool/slurm*/conf-cache /var/spool/slurm/*/conf-cache /var/lib/slurm/*/conf-cache; do
        if [ -e "$file" ]; then echo "there is $file"; fi
    done
    if ours $ETC/slurm.conf; then return; fi
    for file in /proc/[0-9]*/comm; do
        program=$(cat "$file" 2>/dev/null || true)
        case $program in slurmctld | slurmd | slurmdbd | slurmrestd | sackd) echo "$program runs" ;; esac
    done
}

address() { getent ahostsv4 "$1" | awk 'NR == 1 {print $1}'; }

# The processes below a process, and itself.
family() {
    local child
    for child in $(cat /proc/"$1"/task/*/children 2>/dev/null); do family "$child"; done
    echo "$1"
}

# end PIDFILE NAME: end the process of that file, if it is still the program of that name.
end() {
    [ -e "$1" ] || return 0
    local pid
    pid=$(cat "$1")
    if [[ $(cat "/proc/$pid/comm" 2>/dev/null) == "$2"* ]]; then
        kill "$pid" 2>/dev/null || true
        for _ in {1..150}; do
            kill -0 "$pid" 2>/dev/null || break
            sleep 0.2
        done
        kill -9 "$pid" 2>/dev/null || true
    fi
    rm -f "$1"
}

# end_steps NODE: end all that runs on a node at once.
end_steps() {
    local process
    for process in $(pgrep -x slurmstepd); do
        if readlink "/proc/$process/fd/"* 2>/dev/null | grep -q "$STATE/\(log/$1\.log\|spool-$1/\)"; then
            # shellcheck disable=SC2046
            kill -9 $(family "$process") 2>/dev/null || true
        fi
    done
}

write_config() {
    local node number=0 gpu
    mkdir -p $ETC
    # Any device can stand for a GPU.
    printf '%s\nNodeName=n[3-4] Name=gpu File=/dev/null\n' "$SIGNATURE" >$ETC/gres.conf
    printf '%s\nConstrainCores=no\n' "$SIGNATURE" >$ETC/cgroup.conf
    cat >$ETC/slurm.conf <<CONF
$SIGNATURE
ClusterName=insd
SlurmctldHost=$HOST(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
MailProg=/bin/true
# Daemons bind to what the host's name resolves to, which is 127.0.0.1, and to nothing else.
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$STATE/controller
SlurmdSpoolDir=$STATE/spool-%n
SlurmctldPidFile=$STATE/run/slurmctld.pid
SlurmdPidFile=$STATE/run/%n.pid
SlurmctldLogFile=$STATE/log/slurmctld.log
SlurmdLogFile=$STATE/log/%n.log
# No cgroups: they are not to be had in most containers. Memory is polled, and a job over its limit is killed.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
AccountingStorageTRES=gres/gpu
# The nodes claim more processors than the machine has.
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=1,sched_interval=2,bf_interval=2
PropagateResourceLimits=NONE
MpiDefault=none
SwitchType=switch/none
# A lost node is noticed after 20 s, and may return.
SlurmdTimeout=20
ReturnToService=2
KillWait=3
JobRequeue=0
# squeue answers for finished jobs until Snakemake has asked.
MinJobAge=3600
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
CONF
    for node in "${NODES[@]}"; do
        number=$((number + 1))
        gpu=
        if ((number > 2)); then gpu='Gres=gpu:1'; fi
        echo "NodeName=$node NodeHostname=$node NodeAddr=127.0.0.1 Port=$((18000 + number)) CPUs=3 RealMemory=8000 $gpu"
    done >>$ETC/slurm.conf
    cat >>$ETC/slurm.conf <<CONF
PartitionName=main Nodes=n[1-2] Default=YES DefaultTime=10 MaxTime=INFINITE State=UP
PartitionName=faults Nodes=n[3-4] DefaultTime=10 MaxTime=INFINITE State=UP
CONF
    cat >$ETC/slurmdbd.conf <<CONF
$SIGNATURE
DbdHost=$HOST
DbdAddr=127.0.0.1
SlurmUser=root
AuthType=auth/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
PidFile=$STATE/run/slurmdbd.pid
LogFile=$STATE/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=insd
CONF
    chmod 600 $ETC/slurmdbd.conf
}

start_names() {
    local node
    # Job steps call back at 127.0.0.1, so that the host's own name must mean exactly that. /etc/hosts may be mounted:
    # it is written to, and not replaced.
    if [ "$(address "$HOST")" != 127.0.0.1 ]; then
        { echo "127.0.0.1 $HOST $HOST_ENTRY"; cat /etc/hosts; } >$STATE/hosts
        cat $STATE/hosts >/etc/hosts
    fi
    [ "$(address "$HOST")" = 127.0.0.1 ] || fail "$HOST does not resolve to 127.0.0.1, which SLURM needs here"
    for node in "${NODES[@]}"; do echo "127.0.0.1 $node $HOST_ENTRY" >>/etc/hosts; done
}

start_munge() {
    if munge -n 2>/dev/null | unmunge &>/dev/null; then return; fi
    install -d -o munge -g munge -m 755 /run/munge
    install -d -o munge -g munge -m 700 /etc/munge /var/log/munge
    install -d -o munge -g munge -m 711 /var/lib/munge
    if [ ! -s /etc/munge/munge.key ]; then
        head -c 128 /dev/urandom >/etc/munge/munge.key
        chown munge:munge /etc/munge/munge.key
        chmod 400 /etc/munge/munge.key
    fi
    runuser -u munge -- munged
    touch $STATE/run/munge-is-ours
    until_true 20 munged sh -c 'munge -n | unmunge'
}

# With accounting a controller that restarts finds the jobs that ended meanwhile.
start_accounting() {
    local socket=$STATE/socket/mariadb.sock
    install -d -o slurm -g slurm $STATE/database $STATE/socket
    mariadb-install-db --no-defaults --user=slurm --datadir=$STATE/database --skip-test-db \
        --auth-root-authentication-method=socket --auth-root-socket-user=root &>$STATE/log/mariadb-install.log
    setsid mariadbd --no-defaults --user=slurm --datadir=$STATE/database --skip-networking --socket=$socket \
        --innodb-buffer-pool-size=64M --innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=900 \
        --log-error=$STATE/log/mariadb.log &>/dev/null </dev/null &
    echo $! >$STATE/run/mariadbd.pid
    export MYSQL_UNIX_PORT=$socket
    until_true 120 mariadbd mariadb --no-defaults --socket=$socket -e 'select 1'
    slurmdbd
    until_true 120 slurmdbd sacctmgr -n show cluster
    { sacctmgr -i add cluster insd && sacctmgr -i add account insd && sacctmgr -i add user root Account=insd; } \
        &>$STATE/log/sacctmgr.log || true
}

start_node() {
    mkdir -p "$STATE/spool-$1"
    slurmd -N "$1"
}

all_nodes_up() { [ "$(sinfo -h -N -o %T | grep -cxE 'idle|mixed|allocated')" = ${#NODES[@]} ]; }

start() {
    local file node reason
    [ "$(id -u)" = 0 ] || fail "must be root"
    reason=$(foreign)
    [ -z "$reason" ] || fail "this host has a SLURM of its own: $reason"
    for file in $STATE/run/*.pid; do
        if [ -e "$file" ] && kill -0 "$(cat "$file")" 2>/dev/null; then fail "is running ($file): stop it first"; fi
    done
    trap stop EXIT
    rm -rf $STATE
    mkdir -p $STATE/{run,log,controller}
    start_names
    start_munge
    write_config
    start_accounting
    slurmctld -i
    until_true 60 slurmctld scontrol ping
    for node in "${NODES[@]}"; do start_node "$node"; done
    until_true 60 "the nodes" all_nodes_up
    for node in "${NODES[@]}"; do
        [ "$(timeout 120 srun -p main,faults -w "$node" --mem=50 -t 1 sh -c 'echo $SLURMD_NODENAME')" = "$node" ] || fail "no job runs on $node"
    done
    trap - EXIT
    echo "cluster.sh: ${#NODES[@]} nodes are up after $SECONDS s; logs are in $STATE/log"
}

stop() {
    local node file kept ends=()
    if ours $ETC/slurm.conf && scontrol ping &>/dev/null; then
        scancel -u root -Q || true
        for _ in {1..50}; do
            [ -n "$(squeue -h 2>/dev/null)" ] || break
            sleep 0.2
        done
    fi
    for node in "${NODES[@]}"; do
        end "$STATE/run/$node.pid" slurmd &
        ends+=($!)
    done
    end $STATE/run/slurmctld.pid slurmctld
    wait "${ends[@]}"
    # Jobs run on where there was no controller to cancel them.
    for node in "${NODES[@]}"; do end_steps "$node"; done
    end $STATE/run/slurmdbd.pid slurmdbd
    end $STATE/run/mariadbd.pid mariadbd
    if [ -e $STATE/run/munge-is-ours ]; then end /run/munge/munged.pid munged; fi
    for file in "${FILES[@]}"; do
        if ours $ETC/$file; then rm $ETC/$file; fi
    done
    if grep -q "$HOST_ENTRY" /etc/hosts; then
        kept=$(grep -v "$HOST_ENTRY" /etc/hosts)
        echo "$kept" >/etc/hosts
    fi
    echo "cluster.sh: stopped"
}

lose() {
    kill -9 "$(cat "$STATE/run/$1.pid")"
    end_steps "$1"
}

case ${1:-} in
foreign) foreign ;;
start) start ;;
stop) stop ;;
lose) lose "$2" ;;
return) start_node "$2" ;;
pause) end $STATE/run/slurmctld.pid slurmctld ;;
resume)
    slurmctld
    until_true 60 slurmctld scontrol ping
    ;;
*) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
