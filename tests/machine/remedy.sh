#!/bin/sh
# Where systemd is the machine's first process: what `wadi doctor` recommends to an ordinary user, a unit or a scope with
# `Delegate=yes`, gives the limits that are weaker without. As root, in the repository.
user=1000
limits='sandbox: (memory limit|process limit|processor share)'
wadi=${TMPDIR:-/tmp}/wadi-remedy
cp target/debug/wadi "$wadi" && chmod 755 "$wadi"
getent passwd $user > /dev/null || useradd -u $user -m wadi-tester
systemctl start user@$user.service || exit 1
as_user() {
    (cd / && setpriv --reuid=$user --regid=$user --init-groups env XDG_RUNTIME_DIR=/run/user/$user \
        DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$user/bus PATH=/usr/local/bin:/usr/bin:/bin "$@")
}
# count STATUS COMMAND: of the three limits, how many have the status.
count() {
    status=$1 && shift
    as_user "$@" "$wadi" doctor > "$wadi.said" 2>&1
    grep -E "$limits" "$wadi.said" | grep -cE " $status( |$)"
}
failed=
expect() {
    found=$(count "$1" $2)
    echo "remedy: ${2:-nothing}: $found of 3 limits $1"
    [ "$found" = 3 ] || { cat "$wadi.said"; failed=yes; }
}
expect ok "systemd-run --user --quiet --wait --pipe -p Delegate=yes"
expect ok "systemd-run --user --quiet --scope -p Delegate=yes"
expect weaker ""
rm -f "$wadi" "$wadi.said"
[ -z "$failed" ]
