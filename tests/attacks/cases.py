"""The table of attacks: name, the promise of docs/security.md that it tries to break, what it is to be refused with, program.

A program is the body of a Python function that runs in the sandbox of a function, with `given` (what an attacker could
know) and what `world.PRELUDE` has. What it returns, a text or several, must be among the refusals. All of them are
harmless where they succeed, besides that the guard is around them."""

from dataclasses import dataclass

BOTH = ("copied", "plain")
# The walls that can be around a program beside our own sandbox, and the runtime that each takes. What both kinds of instances
# try is tried behind each of them as well.
TIERS = {"container": "runc", "gvisor": "runsc"}
GONE = {"ENOENT"}
NO = {"EPERM"}
SHUT = {"EACCES", "EPERM", "ENOENT", "EROFS"}


@dataclass(frozen=True)
class Case:
    name: str
    promise: str
    refusals: frozenset
    program: str
    # The functions that run it: a copied instance and a started one are refused the same.
    on: tuple = BOTH
    # Of a function of its own, which is gone afterwards.
    own: dict | None = None

    def tries(self):
        """The functions that run it, those behind other walls included."""
        behind = (tier for tier in TIERS if self.on == BOTH and BEHIND[tier].get(self.name, ()) is not None)
        return (*self.on, *behind)


CASES = []


def case(name, promise, refusals, program, **more):
    CASES.append(Case(name, promise, frozenset(refusals), program.strip("\n"), **more))


def exhaust(name, promise, refusals, program, **own):
    case(name, promise, refusals, program, on=("own",), own=own)


# --- files: the host's, and the node's ------------------------------------------------------------------------------

case("homes", "files", {"ENOENT", "the interpreter"}, """
# An interpreter that lies in somebody's home is seen there, and nothing else is.
def only_the_way_to_it(top):
    return 'the interpreter' if sys.base_prefix.startswith(top) and all(sys.base_prefix.startswith(os.path.join(top, n)) for n in os.listdir(top)) else refused(os.listdir, top)
return [only_the_way_to_it(p) for p in ('/root', '/home', '/srv', '/mnt', '/media', '/boot')]""")
case("etc-shadow", "files", GONE, "return [refused(open, p) for p in ('/etc/shadow', '/etc/gshadow', '/etc/sudoers', '/etc/ssh', '/etc/machine-id')]")
case("data-directory", "files", GONE, "return [refused(os.listdir, given['data_dir']), refused(open, given['host_secret'])]")
case("only-what-is-known", "files", {"known"}, """
known = {'bin', 'dev', 'etc', 'lib', 'lib32', 'lib64', 'libx32', 'nix', 'opt', 'proc', 'sbin', 'tmp', 'usr', 'var', 'run', sys.base_prefix.split('/')[1]}
top = set(os.listdir('/')) - known
return 'known' if not top else 'GOT %s' % top""")
case("sys", "files", GONE, "return [refused(os.listdir, '/sys'), refused(open, '/sys/kernel/uevent_helper', 'w')]")
case("climbing", "files", GONE, """
here = os.open('.', os.O_RDONLY)
return [refused(open, '../' * 40 + 'etc/shadow'), refused(lambda: os.open('../' * 40 + given['data_dir'][1:], os.O_RDONLY, dir_fd=here))]""")
case("root-of-init", "files", {"EACCES", "ENOENT"}, """
# Behind other walls the program is itself the first process.
inits = [] if os.getpid() == 1 else [refused(os.listdir, '/proc/1/cwd'), refused(os.readlink, '/proc/1/exe')]
return inits + [refused(os.listdir, '/proc/1/root' + given['data_dir']), refused(open, '/proc/self/root/etc/shadow')]""")
case("left-open-descriptors", "files", {"none"}, """
found = []
for name in os.listdir('/proc/self/fd'):
    try: target = os.readlink('/proc/self/fd/' + name)
    except OSError: continue
    kind = target.split(':')[0]
    if kind not in ('pipe', 'socket', '/dev/null', 'anon_inode', 'host') and not target.startswith(('/proc/', '/var/', '/usr/')):
        found.append(target)
return 'none' if not found else 'GOT %s' % found""")
case("devices", "files", GONE, "return [refused(open, '/dev/' + d) for d in ('mem', 'kmem', 'kmsg', 'port', 'vda', 'sda', 'loop0', 'kvm', 'fuse', 'net/tun', 'tty', 'pts', 'shm', 'loop-control')]")
case("kernel-texts", "kernel", {"empty"}, """
found = []
for name in ('kcore', 'kallsyms', 'keys', 'key-users', 'kmsg', 'timer_list', 'sched_debug', 'config.gz', 'cmdline', 'modules', 'interrupts', 'latency_stats',
             'acpi', 'asound', 'bus', 'fs', 'irq', 'scsi', 'vmallocinfo', 'slabinfo', 'iomem', 'kpagecount', 'diskstats', 'partitions'):
    path = '/proc/' + name
    try: text = os.listdir(path) if os.path.isdir(path) else open(path, 'rb').read(64)
    except OSError: continue
    if text and not (name == 'iomem' and b'00000000-0' in text[:30]): found.append(name)
return 'empty' if not found else 'GOT %s' % found""")
case("write-to-the-system", "files", SHUT, """
return [refused(open, p + '/x', 'w') for p in ('', '/usr/bin', '/etc', '/dev', '/opt', '/var/task', '/var/runtime', '/var', '/proc', '/lib/')]""")
case("write-into-programs", "files", {"EROFS", "EACCES", "EPERM", "ETXTBSY"}, """
return [refused(open, p, 'r+b') for p in (sys.executable, os.__file__, '/var/task/app.py', '/etc/passwd', '/proc/self/exe')]""")
case("handles", "files", NO, """
import struct
handle = ctypes.create_string_buffer(struct.pack('IiII', 8, 1, 2, 0))
root = os.open('/tmp', os.O_RDONLY)
mount = ctypes.c_int()
return [refused(call, 304, 265, root, ctypes.addressof(handle), 0), refused(call, 303, 264, root, ctypes.addressof(ctypes.create_string_buffer(b'/tmp')), ctypes.addressof(handle), ctypes.addressof(mount), 0)]""")
case("links-out-of-tmp", "files", GONE, """
os.path.lexists('/tmp/out') or os.symlink(given['data_dir'], '/tmp/out')
return [refused(os.listdir, '/tmp/out'), refused(os.link, given['host_secret'], '/tmp/hard'), refused(os.rename, given['host_secret'], '/tmp/moved')]""")
case("hard-links-across", "files", {"EXDEV", "EPERM", "EACCES"}, "return [refused(os.link, p, '/tmp/hard') for p in ('/etc/passwd', '/usr/bin/env', '/var/task/app.py')]")
case("files-of-the-whole-root", "files", {"nothing"}, """
# Everything that can be read outside of the system's directories, searched for what only the host or the neighbour has.
found = []
for top in ('/etc', '/opt', '/var', '/tmp', '/run', '/root', '/home', '/nix/var'):
    for at, below, names in os.walk(top):
        if at.startswith(('/var/runtime', sys.base_prefix)) or len(found) > 3: below[:] = []
        for name in names:
            try: text = open(os.path.join(at, name), 'rb').read(1 << 20)
            except OSError: continue
            if given['canary'].encode() in text: found.append(os.path.join(at, name))
return 'nothing' if not found else 'GOT %s' % found""")

# --- functions: others' code, environment, /tmp, memory ---------------------------------------------------------------

case("others-code", "functions", {"nothing"}, """
found = [p for p in ('/var/task/../', '/var') for n in os.listdir(p) if n not in ('task', 'runtime', 'lang', 'empty')]
return 'nothing' if not found and b'in-memory' not in open('/var/task/app.py', 'rb').read() else 'GOT %s' % found""")
case("others-environment", "functions", {"nothing"}, """
found = []
for pid in filter(str.isdigit, os.listdir('/proc')):
    try: text = open('/proc/%s/environ' % pid, 'rb').read()
    except OSError: continue
    if given['canary'].encode() in text: found.append(pid)
return 'nothing' if not found else 'GOT %s' % found""")
case("others-tmp", "functions", {"nothing", "ENOENT"}, """
names = [n for n in os.listdir('/tmp') if n in ('secret', 'socket')]
return ['nothing' if not names else 'GOT %s' % names, refused(open, '/tmp/secret'), refused(os.listdir, '/tmp/../tmp/../var/tmp')]""")
case("others-memory", "functions", {"EACCES", "ESRCH", "ENOENT", "EPERM", "EIO"}, """
tried = {1, given['node_pid'], os.getppid() or 1} | {p for p in range(1, 400)} - {os.getpid()}
return sorted({refused(open, '/proc/%d/mem' % p, 'rb') for p in tried if p != os.getpid()})""")
case("process-vm", "functions", NO, """
buffer = ctypes.create_string_buffer(8)
vector = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
return [refused(call, n, o, 1, ctypes.addressof(vector), 1, ctypes.addressof(vector), 1, 0) for n, o in ((310, 270), (311, 271))]""")
case("process-madvise", "functions", NO, "return refused(call, 440, 440, 0, 0, 0, 4, 0)")
case("descriptors-of-others", "functions", NO, "return refused(call, 438, 438, 0, 1, 0)")
case("shared-memory", "functions", GONE, """
found = libc.shmget(0x77616469, 0, 0)
return 'ENOENT' if found < 0 else 'GOT %d' % found""")
case("message-queues", "functions", {"ENOENT", "nothing"}, """
found = libc.msgget(0x77616469, 0), libc.semget(0x77616469, 0, 0)
return ['nothing' if found == (-1, -1) else 'GOT %s' % (found,), refused(os.listdir, '/dev/mqueue'), refused(os.listdir, '/dev/shm')]""")
case("pages-in-common", "functions", {"EACCES", "EPERM", "ENOENT"}, "return [refused(open, p, 'rb') for p in ('/proc/kpagemap', '/proc/kpageflags', '/proc/kpagecgroup', *([] if os.getpid() == 1 else ['/proc/1/pagemap']))]")
case("copies-share-no-tmp", "functions", {"own"}, "return 'own' if not os.path.exists('/tmp/mine') and os.stat('/tmp').st_uid == os.getuid() else 'GOT %s' % os.listdir('/tmp')")

# --- processes --------------------------------------------------------------------------------------------------------

case("seen-processes", "processes", {"own"}, """
others = []
for pid in filter(str.isdigit, os.listdir('/proc')):
    if int(pid) not in (1, os.getpid(), os.getppid()) and open('/proc/%s/stat' % pid).read().rsplit(')', 1)[1].split()[1] not in (str(os.getpid()), '1'):
        others.append(open('/proc/%s/comm' % pid).read())
return 'own' if not others and os.path.exists('/proc/1') else 'GOT %s' % others""")
case("signals", "processes", {"ESRCH"}, "return sorted({refused(os.kill, p, 0) for p in range(1, 5000) if p not in (1, os.getpid())})")
case("end-the-init", "processes", {"alive"}, """
for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP):
    try: os.kill(1, number)
    except OSError: pass
time.sleep(0.05)
return 'alive'""")
case("pidfds", "processes", {"ESRCH"}, "return [refused(os.pidfd_open, p) for p in (given['node_pid'] + 100000, 4194303, 30000)]")
case("trace", "processes", NO, "return [refused(call, 101, 117, n, 1, 0, 0) for n in (16, 0x4206, 0)]")
case("compare", "processes", NO, "return refused(call, 312, 272, os.getpid(), 1, 0, 0, 0)")
case("priorities", "processes", {"EACCES", "EPERM", "EROFS", "ENOENT"}, """
got = [refused(os.setpriority, os.PRIO_PROCESS, 0, -20), refused(os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1)),
       refused(call, 251, 30, 1, 0, 1 << 13)]
return got + [refused(lambda: open('/proc/self/oom_score_adj', 'w').write('-1000'))]""")

# --- network ----------------------------------------------------------------------------------------------------------

NOWHERE = {"ENETUNREACH", "ECONNREFUSED", "EHOSTUNREACH", "EPERM", "EADDRNOTAVAIL"}
case("host-loopback", "network", {"ECONNREFUSED"}, "return [refused(reach, '127.0.0.1', given['host_port']), refused(reach, '127.0.0.2', given['host_port'])]")
case("node-port", "network", {"ECONNREFUSED"}, "return refused(reach, '127.0.0.1', given['node_port'])")
case("metadata", "network", NOWHERE, "return refused(reach, given['metadata'], 80)")
case("metadata-v6", "network", NOWHERE, "return refused(reach, 'fd00:ec2::254', 80)")
case("private-range", "network", NOWHERE, "return [refused(reach, a, 80) for a in (given['private'], '10.99.0.1')]")
case("internet", "network", NOWHERE, "return [refused(reach, given['internet'], 80), refused(reach, given['internet'], 53, socket.SOCK_DGRAM)]")
case("raw-sockets", "network", NO, """
return [refused(socket.socket, socket.AF_PACKET, socket.SOCK_RAW), refused(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1),
        refused(socket.socket, socket.AF_INET6, socket.SOCK_RAW, 58)]""")
case("foreign-sockets", "network", {"EPERM", "EAFNOSUPPORT"}, "return [refused(socket.socket, f, k) for f in (40, 38, 15, 44, 30, 31, 29) for k in (socket.SOCK_DGRAM, socket.SOCK_STREAM, socket.SOCK_RAW)]")
case("routes", "network", {"EPERM", "EACCES"}, """
# RTM_NEWROUTE: a default route through the loopback.
import struct
s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
body = struct.pack('BBBBBBBBI', 2, 0, 0, 0, 254, 3, 0, 1, 0) + struct.pack('HHI', 8, 4, 1)
s.send(struct.pack('IHHII', 16 + len(body), 24, 0x605, 1, 0) + body)
number = -struct.unpack_from('i', s.recv(1000), 16)[0]
return errno.errorcode.get(number, 'GOT a route')""")
case("devices-of-the-network", "network", {"EPERM", "ENODEV"}, """
import fcntl
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names = [n for _, n in socket.if_nameindex() if n != 'lo']
return ['ENODEV' if not names else 'GOT %s' % names, refused(fcntl.ioctl, s, 0x8914, b'lo' + bytes(14) + b'\\0' * 24)]""")
case("unix-sockets", "network", {"ENOENT", "ECONNREFUSED", "EPERM"}, """
def connect(path):
    with socket.socket(socket.AF_UNIX) as s: s.connect(path)
return [refused(connect, p) for p in ('/run/canary.sock', '/tmp/socket', '\\0canary', '\\0neighbour', '/var/run/docker.sock', '/run/systemd/private', '/run/dbus/system_bus_socket')]""")
case("other-network-namespaces", "network", {"ENOENT", "EACCES", "EPERM"}, """
def enter():
    fd = os.open('/proc/1/ns/net', os.O_RDONLY)
    if libc.setns(fd, 0): raise OSError(ctypes.get_errno(), '')
return [refused(os.listdir, '/run/netns'), refused(enter)]""")

# --- ways out: what a network that leads out does not lead to ---------------------------------------------------------

OUT = ("web", "web-plain")
SILENCE = {"timed out", "ETIMEDOUT", *NOWHERE}
# That the test host is there to be reached: without this, silence would prove nothing.
case("out-reaches", "ways-out", {"GOT b'reached'"}, "return tried((given['internet'], 80), (given['internet'], 53, 2), ('somewhere.example', 80))", on=OUT)
case("listed-reaches", "ways-out", {"GOT b'reached'"}, "return tried((given['private'], 80), (given['internet'], 53, 2))", on=("listed",))
case("listed-reaches-the-host", "ways-out", {"there"}, """
with socket.create_connection((given['own'], 7777), 2): return 'there'""", on=("listed",))
case("out-metadata", "ways-out", SILENCE, "return tried((given['metadata'], 80), ('fd00:ec2::254', 80))", on=OUT)
case("out-private-range", "ways-out", SILENCE, "return tried((given['private'], 80), (given['private'], 8080), (given['private'], 53, 2))", on=OUT)
case("out-host", "ways-out", SILENCE, """
# Every address that the host has, on a port where it listens; those of the router too.
return tried(*((a, p) for a in (given['own'], given['uplink'], '169.254.0.1') for p in (7777, 7778, given['node_port'])))""", on=OUT)
case("out-host-loopback", "ways-out", {"ECONNREFUSED"}, "return tried(('127.0.0.1', given['host_port']), ('127.0.0.1', 7777))", on=OUT)
case("out-router", "ways-out", SILENCE, "return tried(*(('169.254.0.1', p, k) for p, k in ((22, 1), (80, 1), (54, 2), (67, 2))))", on=("web",))
case("out-everybody", "ways-out", {"EACCES", *SILENCE}, """
return tried(*((a, 53, 2) for a in ('255.255.255.255', '224.0.0.1', '10.99.0.255', '240.0.0.1', '100.64.0.1')))""", on=("web",))
case("out-spoofed", "ways-out", {"EINVAL", "EPERM", "ENETUNREACH"}, """
def spoof(option):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.setsockopt(socket.IPPROTO_IP, option, 1)
        s.bind(('10.99.0.77', 7070))
        s.sendto(b'forged', (given['internet'], 53))
return [refused(spoof, o) for o in (15, 19)]  # IP_FREEBIND, IP_TRANSPARENT""", on=OUT)
case("out-raw-sockets", "ways-out", NO, """
return [refused(socket.socket, socket.AF_PACKET, socket.SOCK_RAW), refused(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)]""", on=OUT)
case("out-reconfigured", "ways-out", NO, """
import fcntl
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
address = b'eth0' + bytes(12) + b'\\2\\0\\0\\0\\x0a\\x63\\0\\x4d' + bytes(16)
# SIOCSIFADDR, SIOCSIFHWADDR, SIOCSIFFLAGS.
return [refused(fcntl.ioctl, s, number, address) for number in (0x8916, 0x8924, 0x8914)]""", on=OUT)
case("out-v6", "ways-out", SILENCE, "return tried(*((a, 80) for a in ('2001:db8::1', 'fd00::1', '::ffff:10.99.0.2', '::ffff:169.254.169.254')))", on=OUT)
case("out-neighbours", "ways-out", SILENCE, """
# Those whose addresses lie beside its own. It listens itself, on every address, as another could.
server = socket.create_server(('0.0.0.0', 9999))
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.connect((given['internet'], 53))
    own = int.from_bytes(socket.inet_aton(s.getsockname()[0]), 'big')
return tried(*((socket.inet_ntoa((own + d).to_bytes(4, 'big')), p) for d in (-3, -2, -1, 1, 2, 3) for p in (9001, 9999)))""", on=("web",))
case("listed-only", "ways-out", SILENCE, """
return tried((given['private'], 8080), (given['private'], 53, 2), (given['internet'], 80), (given['internet'], 123, 2), (given['metadata'], 80),
             (given['own'], 7778), (given['own'], given['node_port']), ('169.254.0.1', 53, 2), ('127.0.0.1', 4566))""", on=("listed",))
case("listed-no-names", "ways-out", {"unknown"}, """
try: return 'GOT %r' % socket.getaddrinfo('somewhere.example', 80)
except socket.gaierror: return 'unknown'""", on=("listed",))
# Names that are listed: resolved by the node alone, and open for as long as the answer is good.
NO_NAME = {"[Errno -2] Name or service not known", "[Errno -5] No address associated with hostname"}
ASK = """
def ask(name, kind=1, at='169.254.0.1', port=53):
    labels = b''.join(bytes([len(p)]) + p.encode() for p in name.split('.'))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(2)
        s.sendto(b'ab\\1\\0\\0\\1' + bytes(6) + labels + b'\\0' + kind.to_bytes(2, 'big') + b'\\0\\1', (at, port))
        return s.recv(4096)
"""
case("named-reaches", "ways-out", {"GOT b'reached'"}, "return tried(('api.example', 80), ('API.example.', 80), ('alias.wild.example', 80), ('db.wild.example', 8080))", on=("named",))
case("named-not-listed", "ways-out", NO_NAME, """
return tried(*((n, 80) for n in ('other.example', 'wild.example', 'notapi.example', 'api.example.elsewhere.example', 'edge.elsewhere.example', 'localhost.elsewhere')))""", on=("named",))
case("named-not-asked-for", "ways-out", SILENCE, "return tried((given['unnamed'], 80), (given['internet'], 80), (given['metadata'], 80))", on=("named",))
case("named-rebinding", "ways-out", NO_NAME | SILENCE, """
# Whoever owns a listed name answers with what is near; asked for or not, it stays closed.
got = tried(('rebound.wild.example', 80), ('sneaking.wild.example', 80), ('db.wild.example', 80))
return got + tried((given['metadata'], 80), (given['own'], 7777), (given['own'], given['node_port']), (given['private'], 80))""", on=("named",))
case("named-other-ports", "ways-out", SILENCE, """
socket.getaddrinfo('api.example', 80)
return tried((given['named'], 8080), (given['named'], 53), (given['named'], 53, 2), ('169.254.0.1', 80))""", on=("named",))
case("named-huge-answer", "ways-out", {"bounded"}, ASK + """
answer = ask('huge.wild.example')
count = int.from_bytes(answer[6:8], 'big')
return 'bounded' if 1 <= count <= 15 and len(answer) <= 512 else 'GOT %d addresses' % count""", on=("named",))
case("named-other-records", "ways-out", {"nothing"}, ASK + """
# Records that carry what anybody likes: not for names that are listed, nor for others.
return ['nothing' if ask(n, k)[6:8] == bytes(2) else 'GOT records' for n in ('api.example', 'secret.elsewhere.example') for k in (16, 5, 15, 33, 28, 65, 255)]""", on=("named",))
case("named-expired", "ways-out", SILENCE, """
assert refused(reach, 'brief.wild.example', 80) == "GOT b'reached'"
time.sleep(7)
return refused(reach, given['brief'], 80)""", on=("named",))
case("named-by-other-resolvers", "ways-out", SILENCE, ASK + "return [refused(ask, 'other.example', 1, at) for at in (given['internet'], given['private'])]", on=("named",))
case("named-resolver-of-others", "ways-out", SILENCE, ASK + """
# The ports behind which the router answers for networks that list names are open to those alone.
return [refused(ask, 'api.example', 1, '169.254.0.1', port) for port in (10001, 10002, 10003, 10004)]""", on=("web",))
case("alone", "ways-out", {"ENODEV", "nowhere", *NOWHERE}, """
names = [n for _, n in socket.if_nameindex() if n != 'lo']
return ['nowhere' if 'AWS_ENDPOINT_URL' not in os.environ else 'GOT an endpoint', 'ENODEV' if not names else 'GOT %s' % names,
        *tried(('127.0.0.1', 4566), (given['internet'], 80), (given['private'], 80))]""", on=("alone",))

# --- rights: what would make an attacker more than it is --------------------------------------------------------------

case("no-rights-at-all", "rights", {"none"}, """
status = dict(l.split(':', 1) for l in open('/proc/self/status'))
caps = [n for n in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb') if int(status.get(n, '0'), 16)]
fine = not caps and status.get('NoNewPrivs', 'none').strip() == '1' and status.get('Seccomp', 'none').strip() == '2' and os.getuid() == os.geteuid() == 993 and os.getgroups() in ([], [993])
return 'none' if fine else 'GOT %s' % caps""")
case("become-root", "rights", {"EINVAL", "EPERM"}, """
return [refused(f, *a) for f, a in ((os.setuid, (0,)), (os.setgid, (0,)), (os.setresuid, (0, 0, 0)), (os.setgroups, ([0],)), (os.setreuid, (0, 0)), (os.setuid, (1000,)))]""")
case("setuid-programs", "rights", {"993"}, """
found = [p for p in ('/usr/bin/su', '/bin/su', '/usr/bin/passwd', '/usr/bin/mount', '/usr/bin/chsh', '/usr/bin/newgrp') if os.path.exists(p)]
import shutil
shutil.copy('/usr/bin/id', '/tmp/id'); os.chmod('/tmp/id', 0o6755)
who = [subprocess.run(['/tmp/id', '-u'], capture_output=True, text=True).stdout.strip()]
for path in found:
    p = subprocess.Popen([path, '--help'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try: who.append(open('/proc/%d/status' % p.pid).read().split('Uid:')[1].split()[1])
    except (OSError, IndexError): pass
    p.kill(); p.communicate()
return sorted(set(who))""")
case("give-files-to-root", "rights", {"EPERM", "EINVAL"}, """
open('/tmp/f', 'w').close()
return [refused(os.chown, '/tmp/f', 0, 0), refused(os.chown, '/tmp/f', 1000, 1000), refused(os.setxattr, '/tmp/f', 'security.capability', bytes.fromhex('0100000202000000000000000000000000000000')),
        refused(os.setxattr, '/tmp/f', 'trusted.overlay.opaque', b'y')]""")
case("unshare", "rights", {"EPERM", "ENOSYS"}, "return [refused(call, 272, 97, f) for f in (0x10000000, 0x20000, 0x40000000, 0x20000000, 0x8000000, 0x4000000, 0x2000000, 0x80)]")
case("clone-namespaces", "rights", NO, "return [refused(call, 56, 220, f | 17, 0, 0, 0, 0) for f in (0x10000000, 0x20000, 0x40000000, 0x20000000, 0x30000000)]")
case("clone3", "rights", {"ENOSYS"}, """
import struct
arguments = ctypes.create_string_buffer(struct.pack('8Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0))
return [refused(call, 435, 435, ctypes.addressof(arguments), 64), refused(call, 435, 435, 0, 0)]""")
case("enter-namespaces", "rights", NO, """
def enter(kind):
    fd = os.open('/proc/self/ns/' + kind, os.O_RDONLY)
    if libc.setns(fd, 0): raise OSError(ctypes.get_errno(), kind)
return [refused(enter, k) for k in ('mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup')]""")
case("device-nodes", "rights", {"EPERM", "EACCES"}, """
return [refused(os.mknod, '/tmp/dev', stat.S_IFBLK | 0o666, os.makedev(254, 0)), refused(os.mknod, '/tmp/mem', stat.S_IFCHR | 0o666, os.makedev(1, 1))]""")
case("mounts", "rights", NO, """
text = lambda t: ctypes.addressof(ctypes.create_string_buffer(t))
return [refused(call, 165, 40, text(b'tmpfs'), text(b'/tmp'), text(b'tmpfs'), 0, 0), refused(call, 165, 40, 0, text(b'/usr'), 0, 0x20 | 0x1000, 0), refused(call, 166, 39, text(b'/proc'), 2),
        refused(call, 155, 41, text(b'.'), text(b'.')), refused(call, 161, 51, text(b'/tmp'))]""")
case("new-mounts", "rights", {"EPERM", "ENOSYS"}, "return [refused(call, n, n, 0, 0, 0, 0, 0) for n in (428, 429, 430, 431, 432, 433, 442, 467)]")
case("loosen-the-filter", "rights", {"EINVAL", "EFAULT", "EPERM"}, """
def prctl(*a):
    if libc.prctl(*[ctypes.c_ulong(x) for x in a]) < 0: raise OSError(ctypes.get_errno(), '')
return [refused(prctl, 22, 0, 0, 0, 0), refused(prctl, 38, 0, 0, 0, 0), refused(call, 317, 277, 1, 0, 0)]""")
case("raise-capabilities", "rights", NO, """
def prctl(*a):
    if libc.prctl(*[ctypes.c_ulong(x) for x in a]) < 0: raise OSError(ctypes.get_errno(), '')
header = (ctypes.c_uint32 * 2)(0x20080522, 0)
full = (ctypes.c_uint32 * 6)(*[0xffffffff] * 6)
def capset():
    if libc.capset(header, full): raise OSError(ctypes.get_errno(), '')
return [refused(prctl, 47, 2, 21, 0, 0), refused(prctl, 28, 0, 0, 0, 0), refused(capset)]""")
case("personality", "rights", NO, "return [refused(call, 135, 92, p) for p in (0x0040000, 0x0008, 0x0400000)]")

# --- kernel: the doors that sandboxes have been left by ---------------------------------------------------------------

case("sysrq", "kernel", SHUT | {"harmless"}, """
# Opened, never written to; what is seen there is /dev/null.
try: fd = os.open('/proc/sysrq-trigger', os.O_WRONLY)
except OSError as e: return errno.errorcode[e.errno]
return 'harmless' if os.fstat(fd).st_rdev == os.makedev(1, 3) else 'GOT it open'""")
case("core-pattern", "kernel", SHUT, "return [refused(os.open, '/proc/sys/kernel/' + n, os.O_WRONLY) for n in ('core_pattern', 'modprobe', 'hotplug', 'usermodehelper/bset', 'hostname') if os.path.exists('/proc/sys/kernel/' + n)]")
case("proc-sys", "kernel", {"EROFS", "EACCES", "EPERM"}, """
found = []
for at, _, names in os.walk('/proc/sys'):
    found += [refused(os.open, os.path.join(at, n), os.O_WRONLY) for n in names]
return sorted(set(found))""")
case("keyrings", "kernel", NO, "return [refused(call, n, o, 0, 0, 0, 0, 0) for n, o in ((248, 217), (249, 218), (250, 219))]")
case("bpf", "kernel", NO, "return refused(call, 321, 280, 0, 0, 0)")
case("userfaultfd", "kernel", {"EPERM", "ENOENT"}, "return [refused(call, 323, 282, 1), refused(open, '/dev/userfaultfd')]")
case("io-uring", "kernel", NO, "return [refused(call, n, n, 1, 0, 0, 0, 0, 0) for n in (425, 426, 427)]")
case("perf-events", "kernel", NO, "return refused(call, 298, 241, 0, 0, -1, -1, 0)")
case("x32-calls", "kernel", {"SIGSYS", "not this architecture"}, "return ended(lambda: libc.syscall(ctypes.c_long(0x40000000 + 39))) if X86 else 'not this architecture'")
case("modules", "kernel", NO, "return [refused(call, n, o, 0, 0, 0, 0, 0) for n, o in ((175, 105), (313, 273), (176, 106), (246, 104), (320, 294))]")
case("machine", "kernel", NO, "return [refused(call, n, o, 0, 0, 0, 0) for n, o in ((169, 142), (103, 116), (167, 224), (168, 225), (163, 89), (179, 60))]")
case("clocks-and-names", "kernel", NO, "return [refused(call, n, o, 0, 0, 0) for n, o in ((164, 170), (227, 112), (305, 266), (159, 171), (170, 161), (171, 162))]")
case("unknown-calls", "kernel", {"ENOSYS"}, "return [refused(call, n, n, 0, 0, 0, 0, 0) for n in (463, 466, 470, 500, 548, 600, 999)]")
case("terminals", "kernel", {"EPERM", "EACCES"}, """
import fcntl
return [refused(fcntl.ioctl, 0, n, b'x') for n in (0x5412, 0x541c)]""")
case("uptime", "kernel", {"its own"}, "return 'its own' if time.clock_gettime(time.CLOCK_BOOTTIME) < 3600 and float(open('/proc/uptime').read().split()[0]) < 3600 else 'GOT %d s' % time.clock_gettime(time.CLOCK_BOOTTIME)")
case("watch-all-files", "kernel", {"EPERM", "ENOSYS"}, "return refused(call, 300, 262, 0, 0)")

# --- exhaustion -------------------------------------------------------------------------------------------------------

OUT_OF_MEMORY, TIMED_OUT, ENDED = "Runtime.OutOfMemory", "Sandbox.Timedout", "Runtime.ExitError"
exhaust("memory", "memory", {OUT_OF_MEMORY}, "kept = []\nfor _ in range(1000): kept.append(b'x' * (1 << 20))\nreturn 'GOT 1000 MB'")
exhaust("memory-of-children", "memory", {OUT_OF_MEMORY}, """
for _ in range(8):
    if os.fork() == 0:
        kept = [b'x' * (1 << 20) for _ in range(100)]
        time.sleep(60)
time.sleep(60)""")
exhaust("memory-files", "memory", {OUT_OF_MEMORY}, """
fd = os.memfd_create('x')
for _ in range(1000): os.write(fd, b'x' * (1 << 20))
return 'GOT 1000 MB'""")
exhaust("memory-shared", "memory", {OUT_OF_MEMORY}, """
import mmap
kept = []
for _ in range(100):
    kept.append(mmap.mmap(-1, 10 << 20))
    kept[-1].write(b'x' * (10 << 20))
return 'GOT 1000 MB'""")
exhaust("memory-of-pipes", "memory", {OUT_OF_MEMORY, "bounded"}, """
import fcntl
kept = 0
for _ in range(400):
    try: r, w = os.pipe()
    except OSError: break
    try: fcntl.fcntl(w, 1031, 1 << 20)
    except OSError: pass
    os.set_blocking(w, False)
    try:
        while True: kept += os.write(w, b'x' * 65536)
    except OSError: pass
return 'bounded' if kept < 256 << 20 else 'GOT %d' % kept""", Timeout=10)
exhaust("memory-of-sockets", "memory", {OUT_OF_MEMORY, "bounded"}, """
kept = 0
ends = []
for _ in range(400):
    try: a, b = socket.socketpair()
    except OSError: break
    ends += (a, b)
    a.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)
    a.setblocking(False)
    try:
        while True: kept += a.send(b'x' * 65536)
    except OSError: pass
return 'bounded' if kept < 256 << 20 else 'GOT %d' % kept""", Timeout=10)
exhaust("processes", "pids", {"bounded"}, """
made = []
try:
    while len(made) < 3000:
        pid = os.fork()
        if pid == 0: signal.pause(); os._exit(0)
        made.append(pid)
except OSError: pass
for pid in made: os.kill(pid, 9)
return 'bounded' if len(made) <= 1024 else 'GOT %d' % len(made)""", Timeout=30, MemorySize=1024)
exhaust("threads", "pids", {"bounded", OUT_OF_MEMORY}, """
stop = threading.Event()
made = 0
threading.stack_size(65536)
try:
    while made < 3000:
        threading.Thread(target=stop.wait, daemon=True).start()
        made += 1
except RuntimeError: pass
stop.set()
return 'bounded' if made <= 1024 else 'GOT %d' % made""", Timeout=30, MemorySize=1024)
exhaust("fork-bomb", "pids", {TIMED_OUT, ENDED, OUT_OF_MEMORY}, """
deadline = time.time() + 3
while time.time() < deadline:
    try: os.fork()
    except OSError: time.sleep(0.01)
time.sleep(60)""")
exhaust("descriptors", "descriptors", {"EMFILE"}, """
kept = []
def fill():
    while len(kept) < 100000: kept.append(os.open('/dev/null', 0))
got = refused(fill)
for fd in kept: os.close(fd)
return got if len(kept) <= 1024 else 'GOT %d' % len(kept)""")
exhaust("raise-limits", "descriptors", {"refused"}, """
import resource
got = []
for kind in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE, resource.RLIMIT_FSIZE, resource.RLIMIT_MSGQUEUE, resource.RLIMIT_RTPRIO, resource.RLIMIT_NICE, resource.RLIMIT_MEMLOCK):
    try:
        resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        got.append(kind)
    except (ValueError, OSError): pass
return 'refused' if not got else 'GOT %s' % got""")
exhaust("tmp-one-file", "disk", {"EFBIG", "ENOSPC", "EDQUOT"}, """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
fd = os.open('/tmp/f', os.O_CREAT | os.O_WRONLY)
def fill():
    for n in range(100): os.pwrite(fd, b'x', (n << 20) * 16)
return refused(fill)""")
exhaust("tmp-in-total", "disk", {"ENOSPC", "EDQUOT", "EFBIG", ENDED}, """
def fill():
    for n in range(2000):
        with open('/tmp/%d' % n, 'wb') as f: f.write(b'x' * (1 << 20))
return refused(fill)""", Timeout=40)
exhaust("tmp-unlinked", "disk", {"ENOSPC", "EDQUOT", "EFBIG", ENDED}, """
kept = []
def fill():
    for n in range(20):
        fd = os.open('/tmp', os.O_TMPFILE | os.O_WRONLY)
        kept.append(fd)
        for _ in range(100): os.write(fd, b'x' * (1 << 20))
return refused(fill)""", Timeout=40)
case("allocate-at-once", "disk", {"EOPNOTSUPP", "ENOTSUP"}, """
fd = os.open('/tmp/a', os.O_CREAT | os.O_WRONLY)
try: return [refused(call, 285, 47, fd, mode, 0, 100 << 20) for mode in (0, 1, 16)]
finally: os.unlink('/tmp/a')""")
exhaust("tmp-allocated", "disk", {"ENOSPC", "EDQUOT", "EFBIG", ENDED}, """
def fill():
    for n in range(8):
        fd = os.open('/tmp/a%d' % n, os.O_CREAT | os.O_WRONLY)
        os.posix_fallocate(fd, 0, 400 << 20)
        os.close(fd)
    time.sleep(5)
return refused(fill)""", Timeout=20)
exhaust("inodes", "disk", {"ENOSPC", "EDQUOT", ENDED}, """
def fill():
    for n in range(150000): os.close(os.open('/tmp/%d' % n, os.O_CREAT | os.O_WRONLY))
    time.sleep(5)
return refused(fill)""", Timeout=60)
exhaust("deep-directories", "disk", {"ENOSPC", "EDQUOT", "EFBIG", ENDED}, """
def fill():
    os.chdir('/tmp')
    for n in range(60000):
        os.mkdir('d'); os.chdir('d')
    time.sleep(5)
try: return refused(fill)
finally: os.chdir('/var/task')""", Timeout=60)
exhaust("processor", "cpu", {TIMED_OUT}, """
for _ in range(16):
    if os.fork() == 0:
        while True: pass
while True: pass""", MemorySize=128)
exhaust("cores", "cpu", {"held"}, """
# Sixteen busy processes of a function of 128 MB get one core's time, whoever else is idle.
for _ in range(16):
    if os.fork() == 0:
        end = time.time() + 2
        while time.time() < end: pass
        os._exit(0)
began = time.time()
for _ in range(16): os.wait()
took = os.times()
share = (took.children_user + took.children_system) / (time.time() - began)
return 'held' if share < 1.5 else 'GOT %.2f cores' % share""", MemorySize=128, Timeout=20)
exhaust("log-volume", "logs", {"held", TIMED_OUT}, """
line = b'y' * 1000 + b'\\n'
for _ in range(30000): os.write(1, line)
return 'held'""", Timeout=15)
exhaust("log-without-lines", "logs", {"held", TIMED_OUT}, """
for _ in range(300): os.write(1, b'\\xff' * 65536)
for _ in range(2000): os.write(3, b'\\xa5\\x5a\\x00\\x03' + b'\\xff' * 4096)
return 'held'""", Timeout=15)
exhaust("ephemeral-ports", "network", {"own"}, """
server = socket.create_server(('127.0.0.1', 0), backlog=4096)
kept = []
try:
    while len(kept) < 30000: kept.append(socket.create_connection(server.getsockname(), 1))
except OSError: pass
return 'own'""", Timeout=20)
exhaust("out-connections", "ways-out", {"bounded"}, """
# More than a sandbox may have at once: what is beyond goes nowhere, so that others have room.
assert refused(reach, given['internet'], 80) == "GOT b'reached'"
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for port in range(1, 20000):
    try: s.sendto(b'x', (given['internet'], port))
    except OSError: pass
return 'bounded' if refused(reach, given['internet'], 80) == 'timed out' else 'GOT them all'""", Timeout=20, VpcConfig={"SecurityGroupIds": ["sg-web"]})
exhaust("watches", "pids", {"bounded"}, """
made = 0
kept = []
try:
    while made < 100000:
        fd = libc.inotify_init1(0)
        if fd < 0: break
        kept.append(fd); made += 1
except OSError: pass
for fd in kept: os.close(fd)
return 'bounded' if made <= 1024 else 'GOT %d' % made""")
exhaust("names-never-found", "memory", {"held", OUT_OF_MEMORY, TIMED_OUT}, """
end = time.time() + 2
n = 0
while time.time() < end:
    n += 1
    os.path.exists('/tmp/no-such-%d' % n)
return 'held'""", Timeout=10)

# What some attacks are refused with behind other walls, beside what they are refused with behind our own. None is what a tier does
# not promise, or has of its own, so that there is nothing to refuse (docs/sandbox.md#tiers).
BEHIND = {
    "container": {
        "uptime": None,
        # A terminal's name that leads to none.
        "devices": {"ENXIO"},
        # What the list has not is not there: the runtime knows one answer for all of that.
        **dict.fromkeys(("foreign-sockets", "raw-sockets", "clone-namespaces", "personality", "terminals"), {"ENOSYS"}),
    },
    "gvisor": {
        # Its kernel's own time, /sys, devices, /dev/shm and namespaces, and the first process's own end.
        **dict.fromkeys(("uptime", "sys", "devices", "copies-share-no-tmp", "unshare", "clone-namespaces", "clone3", "enter-namespaces"), None),
        # No capability, and no filter within its kernel, which is the filter itself.
        "no-rights-at-all": {"GOT []"},
        "only-what-is-known": {"GOT {'sys'}"},
        "kernel-texts": {"GOT ['cmdline']"},
        "message-queues": {"GOT []"},
        "end-the-init": {"Runtime.ExitError"},
        "trace": {"GOT 0"},
        "priorities": {"GOT None", "EINVAL"},
        "allocate-at-once": {"GOT 0"},
        "x32-calls": {"-1"},
        # What it has not.
        **dict.fromkeys(("handles", "give-files-to-root", "other-network-namespaces"), {"ENOTSUP"}),
        **dict.fromkeys(("process-vm", "process-madvise", "descriptors-of-others", "pidfds", "userfaultfd", "machine"), {"ENOSYS"}),
        **dict.fromkeys(("raise-capabilities", "personality"), {"EINVAL"}),
        **dict.fromkeys(("terminals", "devices-of-the-network"), {"ENOTTY"}),
        "raw-sockets": {"EAFNOSUPPORT"},
        "keyrings": {"EACCES"},
        "io-uring": {"EFAULT", "ENOSYS"},
        "perf-events": {"ENODEV"},
    },
}
