"""No call is lost: instances and the launcher killed, code replaced, from zero to many instances and back. The small form;
`cargo xtask bench chaos --requests 1000000 --cycles 1000` is the full one. WADI_SEED repeats a run."""

import subprocess

from conftest import ROOT, WADI


def test_no_call_is_lost():
    subprocess.run(["cargo", "build", "--quiet", "--workspace", "--bins", "--tests"], cwd=ROOT, check=True)
    command = [str(ROOT / "target/debug/wadi-bench"), "chaos", "--wadi", str(WADI), "--requests", "10000", "--cycles", "50"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-8000:]
    assert "0 lost or wrong" in done.stdout and "left behind: nothing" in done.stdout, done.stdout
