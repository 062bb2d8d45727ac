"""Functions that misbehave as badly as they can: a clear error for their callers, no harm to others, nothing left behind.

What never returns, allocates without end, exits or answers twice or garbage is in test_functions.py and test_runtimes.py."""

import time

from conftest import ROLE, RUNTIME, eventually, invoke, nothing_is_left, package, process_tree

TIMED_OUT, EXITED, OUT_OF_MEMORY = "Sandbox.Timedout", "Runtime.ExitError", "Runtime.OutOfMemory"

# Name → source, and which error its callers may see (none: it answers that it was held to its limits).
HOSTILE = {
    "fork-bomb": ("""
import os
def handler(event, context):
    while True:
        try: os.fork()
        except OSError: pass
""", {TIMED_OUT, OUT_OF_MEMORY, EXITED}),
    "daemon": ("""
import os, signal, time
def handler(event, context):
    if os.fork() == 0:
        os.setsid()
        for s in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(s, signal.SIG_IGN)
        if os.fork() == 0:
            while True: time.sleep(60)
        os._exit(0)
    return "held"
""", None),
    "signals-ignored": ("""
import signal, time
for s in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}: signal.signal(s, signal.SIG_IGN)
def handler(event, context):
    while True:
        try: time.sleep(60)
        except BaseException: pass
""", {TIMED_OUT}),
    "tmp-filled": ("""
import os
def handler(event, context):
    f = os.open("/tmp/sparse", os.O_CREAT | os.O_WRONLY)
    try:
        os.pwrite(f, b"x" * 4096, 600 << 20)
    except OSError:
        for i in range(2000): open(f"/tmp/{i}", "w").close()
        return "held"
    return os.path.getsize("/tmp/sparse")
""", None),
    "stdout-filled": ("""
import os, sys
def handler(event, context):
    print("y" * 3_000_000)
    for i in range(20_000): print(i, "x" * 90)
    os.write(1, b"\\xff\\x00" * 200_000)
    return "held"
""", None),
    "socket-closed": ("""
import os
def handler(event, context):
    os.closerange(3, 1024)
    return "lost"
""", {EXITED}),
    "killed-in-init": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\nos.abort()\n", {EXITED}),
}


def test_hostile_functions(own):
    own.start()
    lam = own.client("lambda", read_timeout=120)
    for name, (source, _) in HOSTILE.items():
        lam.create_function(FunctionName=name, Runtime=RUNTIME, Role=ROLE, Handler="app.handler", Timeout=2 if name != "stdout-filled" else 60,
                            MemorySize=256, Code={"ZipFile": package(app=source)})
    lam.create_function(FunctionName="decent", Runtime=RUNTIME, Role=ROLE, Handler="app.handler", Timeout=60, Code={"ZipFile": package(app="def handler(e, c):\n    return e\n")})
    for name in [*HOSTILE, "decent"]:
        lam.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
    assert invoke(lam, "decent", 1)[0] == 1
    pids, before = set(), len(process_tree(own.process.pid))
    for name, (_, errors) in HOSTILE.items():
        # A bomb takes the whole machine for its two seconds.
        for _ in range(1 if name == "fork-bomb" else 2):
            began = time.time()
            body, response = invoke(lam, name, {})
            if errors is None:
                assert body == "held", (name, body)
            else:
                assert response["FunctionError"] == "Unhandled" and body["errorType"] in errors, (name, body)
            assert time.time() - began < 60, name
            pids.update(process_tree(own.process.pid))
            assert invoke(lam, "decent", name)[0] == name, "others go on"
    for name in HOSTILE:
        lam.delete_function(FunctionName=name)
    eventually(lambda: len(process_tree(own.process.pid)) <= before, seconds=60)
    pids.update(process_tree(own.process.pid))
    own.stop()
    nothing_is_left(own, pids)
