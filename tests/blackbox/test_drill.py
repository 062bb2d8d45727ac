"""No message is lost on the way queue → function → bus → queue: the node killed, its disk full, the function down. The small form;
`cargo xtask bench drill` is the full one. WADI_SEED repeats a run's draws."""

import os
import shutil
import signal
import subprocess

import pytest
from conftest import ROOT, WADI

SECONDS_MAX = 240


def unmounted(below):
    """Unmounts what is mounted below a directory; how much that was."""
    with open("/proc/mounts") as mounts:
        places = [line.split()[1] for line in mounts if line.split()[1].startswith(f"{below}/")]
    for place in places:
        subprocess.run(["umount", "--lazy", place], check=False)
    return len(places)


def reason_against(tmp_path):
    """Why a small disk cannot be mounted here; nothing if it can."""
    if os.geteuid() != 0:
        return "only root can mount a small disk"
    if not shutil.which("mkfs.ext4"):
        return "there is no mkfs.ext4"
    image, place = tmp_path / "probe.img", tmp_path / "probe"
    with open(image, "wb") as file:
        file.truncate(8 << 20)
    place.mkdir()
    for command in (["mkfs.ext4", "-q", image], ["mount", "-o", "loop", image, place], ["umount", place]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            return f"a small disk cannot be mounted: {done.stderr.strip()}"
    return None


def test_no_message_is_lost(tmp_path):
    if reason := reason_against(tmp_path):
        pytest.skip(reason)
    subprocess.run(["cargo", "build", "--quiet", "--workspace", "--bins", "--tests"], cwd=ROOT, check=True)
    command = [str(ROOT / "target/debug/wadi-bench"), "drill", "--wadi", str(WADI), "--scratch", str(tmp_path), "--messages", "4000",
               "--kill-seconds", "3", "--full-seconds", "3", "--down-seconds", "6", "--disk-mb", "192"]
    drill = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             start_new_session=True)
    try:
        said, errors = drill.communicate(timeout=SECONDS_MAX)
    finally:
        # The node is of the drill's process group, and what the node raised ends with it.
        if drill.poll() is None:
            os.killpg(drill.pid, signal.SIGKILL)
            drill.wait()
        left = unmounted(tmp_path)
    assert drill.returncode == 0, said[-4000:] + errors[-8000:]
    assert "4000 acknowledged, 4000 came" in said and "room again" in said, said
    assert left == 0, "the drill's disk stayed mounted"
