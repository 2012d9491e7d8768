"""Nothing is needed that only Linux has, nor what has no wheel everywhere."""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import kmod_emu
from kmod_emu import samples

NOBODY = 65534
BUSYBOX = Path("/bin/busybox").exists()

# What Python's documentation says macOS lacks, of the modules that kmod_emu uses.
LINUX_ONLY = {
    "os": "memfd_create eventfd pidfd_open sched_getaffinity sched_setaffinity setns unshare pipe2 "
    "posix_fadvise posix_fallocate copy_file_range splice getrandom fdatasync getresuid setresuid getxattr "
    "O_PATH O_TMPFILE O_DIRECT O_LARGEFILE O_NOATIME O_RSYNC MFD_CLOEXEC RWF_NOWAIT GRND_NONBLOCK",
    "signal": "sigtimedwait sigwaitinfo SIGRTMIN SIGRTMAX SIGPWR SIGSTKFLT SIGPOLL SIGCLD",
    "select": "epoll EPOLLIN EPOLLET",
    "socket": "AF_NETLINK AF_PACKET AF_VSOCK SOCK_CLOEXEC SOCK_NONBLOCK SO_PEERCRED MSG_CMSG_CLOEXEC",
    "mmap": "MAP_NORESERVE MAP_POPULATE MAP_DENYWRITE MAP_EXECUTABLE MADV_DONTFORK MADV_HUGEPAGE",
    "termios": "TCGETS TCSETS TCSETSW TCSETSF",
    "resource": "prlimit RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_SIGPENDING RUSAGE_THREAD",
    "fcntl": "F_SETPIPE_SZ F_GETPIPE_SZ F_ADD_SEALS F_OFD_SETLK F_NOTIFY",
    "time": "CLOCK_BOOTTIME CLOCK_TAI pthread_getcpuclockid",
    "errno": "EREMOTEIO ENOKEY EKEYREJECTED EKEYEXPIRED ENOMEDIUM ELIBBAD EUCLEAN ERFKILL EHWPOISON",
}
SCRIPT = """
import importlib, json, mmap, os, pkgutil, resource, sys
for module, names in json.loads(sys.argv[1]).items():
    module = importlib.import_module(module)
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
for absent in ("keystone", "drgn", "distributed", "pytest", "_pytest"):
    sys.modules[absent] = None

class Mapping(mmap.mmap):
    def __new__(cls, *words, offset=0, **options):  # pages of 64 KiB
        assert offset % 65536 == 0, offset
        return super().__new__(cls, *words, offset=offset, **options)

mmap.mmap, limit = Mapping, resource.setrlimit

def setrlimit(what, limits):
    if what == resource.RLIMIT_AS:
        raise ValueError("current limit exceeds maximum limit")
    limit(what, limits)

resource.setrlimit = setrlimit
import kmod_emu
optional = ("kmod_emu.labs.plugin", "kmod_emu.debug.drgn_program")
for module in pkgutil.walk_packages(kmod_emu.__path__, "kmod_emu."):
    if module.name not in optional:
        importlib.import_module(module.name)
if os.geteuid() == 0 and sys.argv[2]:
    os.setgroups([])
    os.setuid(int(sys.argv[2]))
from kmod_emu.cli.main import main
for words in json.loads(sys.argv[3]):
    status = -1
    try:
        main(words)
    except SystemExit as end:
        status = end.code
    print(f"\\n== {status} {words}", flush=True)
"""
COMMANDS = {
    "run hello": 0,
    "trace hello": 0,
    "report echo -o report.html": 0,
    "faults leak": 1,
    "record oops_null -o oops.kmodrec": 3,
    "replay oops.kmodrec": 3,
    "debug --batch hello -ex bt": 0,
    "--classic run hello": 0,
    "--state kept boot": 0,
    "--state kept insmod {echo}": 0,
    "--state kept lsmod": 0,
    "--state kept dmesg": 0,
    "depmod -b {top} 6.1.0-test": 0,
    "sweep --modules {top}/lib/modules/6.1.0-test --jobs 1": 0,
    "exec --bind .:/work -- {busybox} sh -c 'stty -a; ls /work >&2; test ! -t 0'": 0,
    "build .": 1,
    "boot": 1,  # the home directory cannot be written to
}


def test_every_kind_of_command_works_without_what_only_linux_has(open_folder):
    """Nor is there a compiler, nor a home that is writable; pages are large, and RLIMIT_AS is not taken."""
    home, work = open_folder / "home", open_folder / "work"
    tree = work / "lib/modules/6.1.0-test"
    for place in (home, tree):
        place.mkdir(parents=True)
    (tree / "hello.ko").write_bytes(samples.path("hello").read_bytes())
    (work / "Makefile").write_text("obj-m := nothing.o\n")
    for place in (work, tree):
        place.chmod(0o777)
    home.chmod(0o555)
    drop = (
        str(NOBODY) if reachable(Path(kmod_emu.__file__), Path(sys.prefix), Path(os.__file__), home) else ""
    )
    words = {"echo": samples.path("echo"), "top": work, "busybox": "/bin/busybox"}
    lines = {line: status for line, status in COMMANDS.items() if "{busybox}" not in line or BUSYBOX}
    if os.geteuid() == 0 and not drop:
        del lines["boot"]  # root may write everywhere
    commands = [shlex.split(line.format_map(words)) for line in lines]
    variables = {"PATH": str(home), "HOME": str(home)}
    arguments = (json.dumps(LINUX_ONLY), drop, json.dumps(commands))
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=work, env=variables, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in result.stderr + result.stdout
    assert "internal error" not in result.stderr
    ended = re.findall(r"^== (\S+) ", result.stdout, re.MULTILINE)
    assert dict(zip(lines, map(int, ended), strict=False)) == lines, result.stderr


@pytest.fixture
def open_folder():
    """A folder into which everybody may go, unlike pytest's."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def reachable(*paths: Path) -> bool:
    """Whether everybody may go there."""
    return all(folder.stat().st_mode & 1 for path in paths for folder in path.resolve().parents)
