"""Processes that are copied instead of started: a base, which has imported what functions import most, and a template,
which has run one function's initialisation. The bootstrap calls `base` and `template`; both return in the copies.

A copy is asked for on descriptor 4 by the init of the sandbox that it is to go on in: a packet of JSON with descriptors
beside it, named in their order. The child enters that sandbox's namespaces, gives up what rights it has, and says
`in <pid>` on the leash that came along, or `no <reason>`; the parent says `end <wait status>` when the child has ended.
"""

import ctypes
import errno
import fcntl
import gc
import json
import os
import resource
import select
import socket
import stat
import sys
import time

FRAMES = 3
SEED = 4
PACKET_BYTES_MAX = 128 * 1024
DESCRIPTORS_MAX = 24
NEW_PID = 0x20000000
NAMESPACES = {"mnt": 0x20000, "net": 0x40000000, "ipc": 0x8000000, "uts": 0x4000000, "cgroup": 0x2000000, "time": 0x80}
NEW_USER = 0x10000000
# A template keeps, in its own user namespace, what entering needs (CAP_SYS_CHROOT and CAP_SYS_ADMIN), and what a copy
# needs to give these up for good (CAP_SETPCAP).
TEMPLATE_KEEPS = (8, 18, 21)
# Descriptors of a template: one for each copy's end, and one for its leash.
TEMPLATE_FILES = 16 * 1024
# Where descriptors about copies begin.
CHILDREN = 2048

PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP, PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS = 4, 22, 24, 28, 38
SECCOMP_MODE_FILTER = 2
LANDLOCK_RESTRICT_SELF = 446
# Root is nobody special and no ambient capability can be raised, for good.
SECURE_BITS = 0b11000011
CAPABILITY_VERSION = 0x20080522

# Standard modules that handlers import most.
STANDARD = (
    "asyncio base64 collections concurrent.futures contextlib copy csv dataclasses datetime decimal email.message enum "
    "functools gzip hashlib hmac html http.client http.cookies inspect io itertools json logging math operator pathlib "
    "pickle random re secrets shutil socket ssl statistics string struct subprocess tempfile textwrap threading "
    "traceback types typing unicodedata urllib.error urllib.parse urllib.request uuid warnings xml.etree.ElementTree "
    "zipfile zlib zoneinfo"
).split()
# What the runtime brings, and what that needs. A package that brings one of these has all of them from itself.
FAMILY = "boto3 botocore s3transfer urllib3 dateutil six jmespath".split()
BROUGHT = (
    "boto3 boto3.session boto3.dynamodb.conditions boto3.dynamodb.transform boto3.s3.inject boto3.s3.transfer "
    "boto3.ec2.createtags botocore.config botocore.exceptions botocore.httpsession botocore.signers "
    "botocore.retries.standard botocore.retries.adaptive s3transfer.manager urllib3.contrib"
).split()

libc = ctypes.CDLL(None, use_errno=True)


class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("steps", ctypes.c_void_p)]


def check(result, what):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (what, os.strerror(number)))


def prctl(option, *arguments):
    return libc.prctl(option, *(ctypes.c_ulong(a) for a in (arguments + (0, 0, 0, 0))[:4]))


def set_namespace(fd, kind):
    check(libc.setns(fd, kind), "setns")


# --- the copied process -------------------------------------------------------------------------------------------


def base(kept):
    """The life of a base. Returns in a copy, inside its sandbox: what it is to be (`instance`, `template`), and the
    environment that it was given. `kept` are modules that no package replaces."""
    there = set(sys.modules)
    import importlib

    for name in STANDARD + (BROUGHT if os.path.isdir("/var/runtime/site-packages/boto3") else []):
        try:
            importlib.import_module(name)
        except ImportError:
            pass
    if "botocore.session" in sys.modules:
        warm_botocore()
    preloaded = set(sys.modules) - there
    os.write(FRAMES, b"ready")
    ask = serve()
    sys.argv[1:] = []
    os.environ.clear()
    os.environ.update(ask["env"])
    time.tzset()
    forget_shadowed(preloaded, kept)
    return ask["role"], ask["env"]


def warm_botocore():
    """Lets botocore read what every client of it reads, once for all functions."""
    import botocore.loaders
    import botocore.session

    botocore.loaders.JSONFileLoader.load_file = remembering(botocore.loaders.JSONFileLoader.load_file)
    session = botocore.session.Session()
    keys = {"aws_access_key_id": "-", "aws_secret_access_key": "-", "endpoint_url": "http://127.0.0.1:1"}
    for service in ("s3", "dynamodb", "sqs", "sns", "lambda"):
        session.create_client(service, region_name="us-east-1", **keys)


def remembering(load_file):
    """Files of the runtime's own botocore do not change; what is read of them is remembered as text, parsed anew for each
    who asks, because clients change it."""
    import pickle

    held = {}

    def remembered(self, file_path):
        if not file_path.startswith("/var/runtime/"):
            return load_file(self, file_path)
        known = held.get(file_path)
        if known is None:
            value = load_file(self, file_path)
            if value is not None:
                held[file_path] = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
            return value
        return pickle.loads(known)

    return remembered


def forget_shadowed(preloaded, kept):
    """A module of the package's or of a layer's goes before one of the same name that was imported beforehand."""
    places = [place for place in sys.path if place.startswith(("/var/task", "/opt/"))]
    names = set()
    for place in places:
        # There was nothing there until now.
        sys.path_importer_cache.pop(place, None)
        try:
            names.update(name.partition(".")[0] for name in os.listdir(place))
        except OSError:
            pass
    names &= {name.partition(".")[0] for name in preloaded}
    if names & set(FAMILY):
        names |= set(FAMILY)
    names -= set(kept)
    for name in preloaded:
        if name.partition(".")[0] in names:
            sys.modules.pop(name, None)


def template(environment):
    """The life of a template whose function is initialised. Returns in a copy, inside its sandbox."""
    files = plain_files()
    ask = serve()
    reopen(files)
    # What the initialisation itself has put there stays.
    for name, value in ask["env"].items():
        if environment.get(name) != value:
            os.environ[name] = value
    reseed()


def serve():
    """Copies this process as it is asked to. Returns in the copies alone: what each was asked to be."""
    gc.collect()
    gc.freeze()
    seed = socket.socket(fileno=SEED)
    poll = select.epoll()
    poll.register(SEED, select.EPOLLIN)
    # What is kept of the copies lies beyond all else, so that each copy closes what it has of it at one stroke.
    first = beyond = min(CHILDREN, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
    children = {}
    while True:
        for fd, _ in poll.poll():
            if fd in children:
                poll.unregister(fd)
                bury(fd, *children.pop(fd))
                continue
            packet, descriptors, _, _ = socket.recv_fds(seed, PACKET_BYTES_MAX, DESCRIPTORS_MAX)
            if not packet:
                os._exit(0)
            ask = json.loads(packet)
            named = list(zip(ask["descriptors"], descriptors))
            pid = fork_into(dict(named)["pid"], descriptors[0])
            if pid == 0:
                seed.detach()
                poll.close()
                os.closerange(first, beyond)
                enter(ask, named)
                return ask
            for name, fd in named:
                if name != "leash":
                    os.close(fd)
            if pid is None:
                os.close(descriptors[0])
            else:
                pidfd, leash = put_beyond(first, os.pidfd_open(pid)), put_beyond(first, descriptors[0])
                beyond = max(beyond, pidfd + 1, leash + 1)
                children[pidfd] = (pid, leash)
                poll.register(pidfd, select.EPOLLIN)


def put_beyond(first, fd):
    there = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, first)
    os.close(fd)
    return there


def fork_into(namespace, leash):
    """Forks a child whose processes are those of `namespace`; `None` where that cannot be. Whatever this process forks
    next is forked by this again, so nothing is set back."""
    try:
        set_namespace(namespace, NEW_PID)
        return os.fork()
    except OSError as e:
        say(leash, "no %s" % e)
        return None


def bury(pidfd, pid, leash):
    try:
        _, status = os.waitpid(pid, 0)
        say(leash, "end %d" % status)
    except ChildProcessError:
        pass
    os.close(pidfd)
    os.close(leash)


def say(leash, text):
    try:
        os.write(leash, text.encode("utf-8", "replace")[:400])
    except OSError:
        pass


# --- the copy -----------------------------------------------------------------------------------------------------


def enter(ask, named):
    leash = named[0][1]
    try:
        move_in(ask, named)
    except BaseException as e:
        say(leash, "no %s" % e)
        os._exit(1)
    say(leash, "in %d" % os.getpid())
    os.close(leash)


def move_in(ask, named):
    by_name = dict(named)
    for name, fd in named:
        if name == "door":
            os.write(fd, b"0")
    for name, kind in NAMESPACES.items():
        if name in by_name:
            set_namespace(by_name[name], kind)
    is_template = ask["role"] == "template"
    files = max(TEMPLATE_FILES, ask["open_files"]) if is_template else ask["open_files"]
    for kind, limit in ((resource.RLIMIT_NOFILE, files), (resource.RLIMIT_FSIZE, ask["file_bytes"]), (resource.RLIMIT_CORE, 0)):
        most = resource.getrlimit(kind)[1]
        limit = limit if most == resource.RLIM_INFINITY else min(limit, most)
        resource.setrlimit(kind, (limit, limit))
    place(by_name)
    os.setsid()
    os.chdir(ask["cwd"])
    if "user" in by_name:
        set_namespace(by_name["user"], NEW_USER)
        become(ask["user"], TEMPLATE_KEEPS if is_template else ())
        if "landlock" in by_name:
            check(libc.syscall(LANDLOCK_RESTRICT_SELF, by_name["landlock"], 0), "enter the landlock domain")
        for steps in ask["filters"]:
            install(bytes.fromhex(steps))
    else:
        for capability in TEMPLATE_KEEPS:
            check(prctl(PR_CAPBSET_DROP, capability), "drop a capability")
        keep_capabilities(())
    for name, fd in named:
        if name != "leash":
            os.close(fd)


def place(by_name):
    """Descriptors 0 to 4, as a started program finds them."""
    null = os.open("/dev/null", os.O_RDWR)
    for fd, target in ((null, 0), (by_name["output"], 1), (by_name["output"], 2), (by_name["frames"], 3)):
        os.dup2(fd, target)
    os.close(null)
    if "seed" in by_name:
        os.dup2(by_name["seed"], SEED, inheritable=False)
    else:
        os.close(SEED)


def become(user, keeps):
    """From the host's root, in the sandbox's user namespace, to its only user, with these capabilities and for good."""
    for capability in range(64):
        if capability not in keeps and prctl(PR_CAPBSET_DROP, capability) < 0:
            if ctypes.get_errno() != errno.EINVAL:
                check(-1, "drop a capability")
            break
    check(prctl(PR_SET_SECUREBITS, SECURE_BITS), "lock the secure bits")
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    keep_capabilities(keeps)
    check(prctl(PR_SET_NO_NEW_PRIVS, 1), "no_new_privs")
    # Which the change of user has cleared; without it a process cannot look at itself in /proc.
    check(prctl(PR_SET_DUMPABLE, 1), "become dumpable")


def keep_capabilities(keeps):
    bits = sum(1 << capability for capability in keeps)
    header = (ctypes.c_uint32 * 2)(CAPABILITY_VERSION, 0)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    check(libc.capset(header, (ctypes.c_uint32 * 6)(low, low, 0, high, high, 0)), "set the capabilities")


def install(steps):
    buffer = ctypes.create_string_buffer(steps, len(steps))
    program = Filter(len(steps) // 8, ctypes.cast(buffer, ctypes.c_void_p))
    check(libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program)), "install a filter")


def plain_files():
    """Files that the initialisation has left open, to be opened anew by each copy: else copies would share where in
    the file they are."""
    return [fd for fd, kind in descriptors() if kind == "file"]


def reopen(files):
    for fd in files:
        at = os.lseek(fd, 0, os.SEEK_CUR)
        fresh = os.open("/proc/self/fd/%d" % fd, fcntl.fcntl(fd, fcntl.F_GETFL))
        os.lseek(fresh, at, os.SEEK_SET)
        os.dup2(fresh, fd, inheritable=os.get_inheritable(fd))
        os.close(fresh)


def reseed():
    """Copies must not draw the same numbers. `random` and OpenSSL see to themselves when a process is forked."""
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()


# --- what stands in the way ---------------------------------------------------------------------------------------


def obstacle(own):
    """Why this process cannot be copied, or `None`. Looked for once, after the function's initialisation; `own` is the
    bootstrap's connection."""
    if len(os.listdir("/proc/self/task")) > 1:
        return "it started threads during initialisation"
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return "it started processes during initialisation"
    except ChildProcessError:
        pass
    kinds = {kind for fd, kind in descriptors() if fd != own}
    for kind, reason in (
        ("connection", "it opened connections during initialisation"),
        ("other", "it opened pipes or event descriptors during initialisation"),
        ("writable", "it holds a file open for writing"),
    ):
        if kind in kinds:
            return reason
    if os.listdir("/tmp"):
        return "it wrote to /tmp during initialisation"
    with open("/proc/self/maps") as maps:
        for line in maps:
            rights = line.split(" ", 2)[1]
            if rights[1] == "w" and rights[3] == "s":
                return "it shares writable memory"
    return None


def descriptors():
    """The open descriptors beyond the bootstrap's own, and what each is."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        fd = int(name)
        if fd <= SEED:
            continue
        try:
            mode, target = os.fstat(fd).st_mode, os.readlink("/proc/self/fd/%d" % fd)
        except OSError:
            continue
        if stat.S_ISSOCK(mode):
            found.append((fd, "connection"))
        elif stat.S_ISREG(mode):
            writable = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
            found.append((fd, "writable" if writable else "file"))
        elif stat.S_ISDIR(mode) or stat.S_ISCHR(mode):
            pass
        elif target:
            found.append((fd, "other"))
    return found
