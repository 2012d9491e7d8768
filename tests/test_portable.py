"""Nothing is needed that only Linux has, nor what has no wheel everywhere."""

import json
import subprocess
import sys

# What Python's documentation says macOS lacks, of the modules that kmod_emu uses.
LINUX_ONLY = {
    "os": "memfd_create eventfd pidfd_open sched_getaffinity sched_setaffinity setns unshare pipe2 "
    "posix_fadvise posix_fallocate copy_file_range splice getrandom fdatasync getresuid setresuid getxattr "
    "O_PATH O_TMPFILE O_DIRECT O_LARGEFILE O_NOATIME O_RSYNC MFD_CLOEXEC RWF_NOWAIT GRND_NONBLOCK",
    "signal": "sigtimedwait sigwaitinfo SIGRTMIN SIGRTMAX SIGPWR SIGSTKFLT SIGPOLL SIGCLD",
    "select": "epoll EPOLLIN EPOLLET",
    "socket": "AF_NETLINK AF_PACKET AF_VSOCK SOCK_CLOEXEC SOCK_NONBLOCK SO_PEERCRED MSG_CMSG_CLOEXEC",
    "mmap": "MAP_NORESERVE MAP_POPULATE MAP_DENYWRITE MAP_EXECUTABLE MADV_DONTFORK MADV_HUGEPAGE",
    "resource": "prlimit RLIMIT_MSGQUEUE RLIMIT_NICE RLIMIT_RTPRIO RLIMIT_SIGPENDING RUSAGE_THREAD",
    "fcntl": "F_SETPIPE_SZ F_GETPIPE_SZ F_ADD_SEALS F_OFD_SETLK F_NOTIFY",
    "time": "CLOCK_BOOTTIME CLOCK_TAI pthread_getcpuclockid",
    "errno": "EREMOTEIO ENOKEY EKEYREJECTED EKEYEXPIRED ENOMEDIUM ELIBBAD EUCLEAN ERFKILL EHWPOISON",
}
SCRIPT = """
import importlib, json, pkgutil, sys
for module, names in json.loads(sys.argv[1]).items():
    module = importlib.import_module(module)
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
for absent in ("keystone", "drgn", "distributed", "pytest", "_pytest"):
    sys.modules[absent] = None
import kmod_emu
optional = ("kmod_emu.labs.plugin", "kmod_emu.debug.drgn_program")
for module in pkgutil.walk_packages(kmod_emu.__path__, "kmod_emu."):
    if module.name not in optional:
        importlib.import_module(module.name)
from kmod_emu.cli.main import main
main(["run", "--json", "echo"])
"""


def test_everything_is_imported_and_a_module_runs_without_what_only_linux_has():
    command = [sys.executable, "-c", SCRIPT, json.dumps(LINUX_ONLY)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
    assert json.loads(result.stdout)["rc"] == 0
