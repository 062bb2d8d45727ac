"""The workers of an instance that takes several calls at once: processes with an initialisation and a connection of their
own, which take one call at a time. The process that starts them looks after them, and ends when none is left.

The first of them initialises itself at once; each of the others when the one before it is done, so that the first call does
not wait for all. One that ends while it has a call is replaced, and the call fails by its end; one that ends in its
initialisation is not.
"""

import fcntl
import mmap
import os
import sys

# What the starter knows of a worker: how far it is, and the call that it has.
SLOT = 128
GONE, STARTS, READY = b"\0", b"\1", b"\2"
# Workers that end one after the other without having answered a call.
ENDS_MAX = 100
SIGNALS = {6: "aborted", 9: "killed", 11: "segmentation fault"}


class Slot:
    """A worker's place in memory that all of them share."""

    def __init__(self, table, at, turns):
        self.table, self.at, self.turns = table, at * SLOT, turns

    def set(self, phase):
        self.table[self.at : self.at + 1] = phase

    def phase(self):
        return self.table[self.at : self.at + 1]

    def begin(self, request_id):
        data = request_id.encode("ascii", "replace")[: SLOT - 2]
        self.table[self.at + 2 : self.at + 2 + len(data)] = data
        self.table[self.at + 1 : self.at + 2] = bytes([len(data)])

    def end(self):
        self.table[self.at + 1 : self.at + 2] = b"\0"

    def request_id(self):
        length = self.table[self.at + 1]
        return self.table[self.at + 2 : self.at + 2 + length].decode("ascii")

    def take_turn(self):
        """Waits until the initialisation may begin."""
        self.set(STARTS)
        os.read(self.turns[0], 1)
        return self

    def ready(self):
        """The initialisation is done: the next worker may begin with its own."""
        self.set(READY)
        os.write(self.turns[1], b".")

    def any_ready(self):
        return any(self.table[at : at + 1] == READY for at in range(0, len(self.table), SLOT))


class FrameLock:
    """Held by one process at a time; what its process leaves held is free."""

    def __init__(self):
        self.fd = os.memfd_create("frames")

    def __enter__(self):
        fcntl.lockf(self.fd, fcntl.LOCK_EX)

    def __exit__(self, *_):
        fcntl.lockf(self.fd, fcntl.LOCK_UN)


def start(count, fail):
    """Returns in each of `count` workers, with its slot. `fail(request_id, reason)` tells the platform of a call that will
    have no other answer."""
    table = mmap.mmap(-1, count * SLOT)
    turns = os.pipe()
    slots = [Slot(table, at, turns) for at in range(count)]
    os.write(turns[1], b".")
    workers = {}
    for slot in slots:
        if launch(slot, workers) is False:
            return slot.take_turn()
    ends = 0
    while workers:
        pid, status = os.wait()
        slot = workers.pop(pid, None)
        if slot is None:
            continue
        phase, request_id = slot.phase(), slot.request_id()
        slot.set(GONE)
        slot.end()
        if phase == STARTS:
            if not slot.any_ready():
                os._exit(os.waitstatus_to_exitcode(status) & 0xFF or 1)
            os.write(turns[1], b".")
            continue
        if request_id:
            fail(request_id, reason_of(status))
            ends = 0
        ends += 1
        if ends <= ENDS_MAX and launch(slot, workers) is False:
            return slot.take_turn()
    os._exit(1)


def launch(slot, workers):
    """True in the starter, and false in the worker; nothing where the sandbox may have no more processes: the others do."""
    sys.stdout.flush()
    try:
        pid = os.fork()
    except OSError:
        return None
    if pid:
        workers[pid] = slot
    return pid != 0


def reason_of(status):
    """As the platform words the end of a whole instance."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        return "Runtime exited with error: signal: %s" % SIGNALS.get(-code, str(-code))
    return "Runtime exited with error: exit status %d" % code if code else "Runtime exited without providing a reason"
