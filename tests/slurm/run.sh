#!/usr/bin/env bash
# make test-slurm: install SLURM, and run the tests that start it. PYTHON names the interpreter of the environment.
set -euo pipefail
cd "$(dirname "$0")/../.."
skip() { echo "test-slurm: skipped, $*"; exit 0; }

# Before anything is installed.
found=$(tests/slurm/cluster.sh foreign)
[ -z "$found" ] || skip "since this host has a SLURM of its own, which is left alone: ${found//$'\n'/; }"
[ "$(id -u)" = 0 ] || skip "since it needs root, to start the daemons of SLURM"
[ -e /etc/debian_version ] && command -v apt-get >/dev/null || skip "since it needs Debian's packages of SLURM"
for program in slurmctld slurmd sbatch munged slurmdbd mariadbd mariadb; do
    command -v $program >/dev/null && continue
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300 \
        slurmctld slurmd slurm-client munge slurmdbd mariadb-server-core mariadb-client-core
    # Where there is systemd, the packages start their services.
    if [ -d /run/systemd/system ]; then systemctl stop slurmctld slurmd slurmdbd || true; fi
    break
done
# Held for as long as this runs, and not by the daemons.
exec {lock}>/var/lock/insd-test-slurm
flock --nonblock $lock || { echo "test-slurm: these tests run on this machine already" >&2; exit 1; }
# Where the tests are killed before they have stopped it.
trap 'tests/slurm/cluster.sh stop >/dev/null' EXIT
"${PYTHON:-.venv/bin/python}" -m pytest -m slurm --durations 0 tests/slurm "$@" {lock}>&-
