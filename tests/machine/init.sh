#!/bin/sh
# The first process after `early.sh`: what the machine's root has to have, then the job.
PLACE=$1
mkdir -p /dev/pts /dev/shm /dev/mqueue
mount -t devpts -o mode=620,gid=5,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t mqueue mqueue /dev/mqueue
mount -t tmpfs -o mode=755 run /run
mkdir -p /run/lock
mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
# All that there are, as systemd hands down what its units ask for.
for controller in $(cat /sys/fs/cgroup/cgroup.controllers); do
    echo "+$controller" > /sys/fs/cgroup/cgroup.subtree_control
done
ip link set lo up
hostname machine
# Orphans of the tests' come to the first process, which has to bury them: a shell does while it waits.
sh "$(dirname "$0")/job.sh" "$PLACE"
