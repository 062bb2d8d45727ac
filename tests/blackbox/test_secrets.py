"""Functions' environments: the function has them, its owner sees them, and nothing on disk, in logs or in `ps` does."""

import pathlib
import stat
import subprocess

from conftest import ROLE, RUNTIME, WADI, invoke, package, process_tree

SECRET = "correct-horse-battery-staple"
SHOWS = "import os\ndef handler(event, context):\n    return os.environ['PASSWORD']\n"


def make(node, name="keeper"):
    lam = node.client("lambda")
    lam.create_function(FunctionName=name, Runtime=RUNTIME, Role=ROLE, Handler="app.handler", MemorySize=256,
                        Environment={"Variables": {"PASSWORD": SECRET}}, Code={"ZipFile": package(app=SHOWS)})
    lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return lam


def files_with(directory, needle):
    found = []
    for path in pathlib.Path(directory).rglob("*"):
        if path.is_file() and not path.is_symlink() and needle in path.read_bytes():
            found.append(path)
    return found


def start_refused(node):
    done = subprocess.run([str(WADI), "up", "--listen", f"127.0.0.1:{node.port}", "--data-dir", str(node.data_dir), *node.flags],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done
    return done.stderr


def test_nowhere_but_in_the_function(own):
    own.start()
    lam = make(own)
    assert invoke(lam, "keeper")[0] == SECRET
    assert lam.get_function_configuration(FunctionName="keeper")["Environment"]["Variables"]["PASSWORD"] == SECRET
    lam.publish_version(FunctionName="keeper")
    shown = subprocess.run(["ps", "axww", "-o", "args"], capture_output=True, text=True).stdout
    assert SECRET not in shown
    launcher_and_node = [pid for pid in process_tree(own.process.pid) if "wadi" in pathlib.Path(f"/proc/{pid}/comm").read_text()]
    assert launcher_and_node
    for pid in launcher_and_node:
        assert SECRET.encode() not in pathlib.Path(f"/proc/{pid}/environ").read_bytes(), pid
    own.stop()
    assert files_with(own.data_dir, SECRET.encode()) == []
    assert SECRET not in own.log_text()
    assert (own.data_dir / "wadi.db").exists(), "something was searched"
    key = own.data_dir / "master-key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert files_with(own.data_dir, key.read_text().strip().encode()) == [key]


def test_a_key_that_is_lost_wrong_or_open_is_told_at_start(own):
    own.start()
    make(own)
    own.stop()
    key = own.data_dir / "master-key"
    right = key.read_text()
    key.unlink()
    assert "the master key is lost" in start_refused(own)
    assert not key.exists()
    key.write_text("ab" * 32 + "\n")
    key.chmod(0o600)
    assert "which this node has not been given" in start_refused(own)
    key.write_text(right)
    key.chmod(0o644)
    assert "can be used by others" in start_refused(own)
    key.chmod(0o600)
    own.start()
    assert invoke(own.client("lambda"), "keeper")[0] == SECRET


def test_another_key_takes_over_and_a_command_may_bring_it(own):
    own.start()
    make(own)
    own.stop()
    key = own.data_dir / "master-key"
    old, new = key.read_text(), "cd" * 32 + "\n"
    key.write_text(new + old)
    own.start()
    assert invoke(own.client("lambda"), "keeper")[0] == SECRET
    own.stop()
    key.unlink()
    own.settings = f'[secrets]\nkey_command = "printf {new.strip()}"\n'
    own.start()
    assert invoke(own.client("lambda"), "keeper")[0] == SECRET
    assert not key.exists()
