#!/bin/sh
# All that `cargo xtask test machine` runs in the machine, as root and in the repository; its status is 1 where anything failed.
failed=
attempt() {
    echo "machine: $*"
    "$@" || failed="$failed
  $*"
}
# The first start of a sandbox loads modules of the kernel's, and on a slow machine takes longer than a node waits.
target/debug/wadi doctor > /dev/null 2>&1
attempt target/debug/wadi doctor

newest() { ls -t target/debug/deps/"$1"-* | grep -v '\.d$' | head -1; }
# crate FOLDER BINARY: a crate's tests, run in its folder as cargo does.
crate() (
    binary=$PWD/$(newest "$2") && cd "$1" && "$binary"
)
attempt crate crates/sandbox process
attempt crate crates/engine real
python=target/test-venv/bin/python
attempt $python -m pytest tests/blackbox -q -p no:cacheprovider --deselect tests/blackbox/test_chaos.py --deselect tests/blackbox/test_drill.py
attempt $python tests/attacks/guard.py $python -m pytest tests/attacks -q -p no:cacheprovider
[ -z "$failed" ] || { echo "machine: failed:$failed"; exit 1; }
