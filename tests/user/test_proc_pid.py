"""/proc/PID and the files that ps, top, free and mount read."""

import os

import pytest

from kmod_emu import Kernel, KernelError
from kmod_emu.uapi import errno
from tests.user.conftest import needs_busybox


def text(result) -> str:
    return result.stdout.decode()


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def process(kernel):
    return kernel.process(uid=1000, gid=100, comm="worker")


def status(process, pid="self"):
    lines = process.read_file(f"/proc/{pid}/status").decode().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


def test_who_a_process_is(kernel, process):
    facts = status(process)
    assert (facts["Name"], facts["Pid"], facts["PPid"], facts["State"]) == (
        "worker",
        str(process.pid),
        "1",
        "R (running)",
    )
    assert (facts["Uid"], facts["Gid"]) == ("1000\t" * 3 + "1000", "100\t" * 3 + "100")
    assert facts["CapEff"] == "0" * 16
    assert status(process, 1)["CapEff"] == "000001ffffffffff"
    assert process.stat("/proc/self").uid == 1000
    assert process.readlink("/proc/self") == str(process.pid)


def test_names_and_places(process):
    process.chdir("/tmp")
    assert process.readlink("/proc/self/cwd") == "/tmp"
    assert process.read_file("/proc/self/comm") == b"worker\n"
    process.write(process.open("/proc/self/comm", os.O_WRONLY), b"other\n")
    assert process.task.comm == "other"
    fields = process.read_file("/proc/self/stat").decode().split()
    assert (fields[0], fields[1], fields[2], len(fields)) == (str(process.pid), "(other)", "R", 52)


def test_descriptors(process):
    fd = process.open("/tmp/note", os.O_CREAT)
    process.unlink("/tmp/note")
    assert str(fd) in process.listdir("/proc/self/fd")
    assert process.readlink(f"/proc/self/fd/{fd}") == "/tmp/note (deleted)"
    assert process.readlink("/proc/self/fd/0") == "/dev/null"


def test_the_descriptors_of_others_are_root_s_to_see(kernel, process):
    with pytest.raises(KernelError, match="Permission denied"):
        process.listdir("/proc/1/fd")
    assert kernel.process().listdir(f"/proc/{process.pid}/fd") == ["0", "1", "2"]


def test_a_process_that_is_gone_has_no_directory(kernel, process):
    process.exit()
    with pytest.raises(KernelError, match="No such file"):
        kernel.cat(f"/proc/{process.pid}/comm")


def test_maps(process):
    address = process.syscall("mmap", 0, 8192, 3, 0x22, -1, 0)
    assert f"{address:08x}-{address + 8192:08x} rw-p" in process.read_file("/proc/self/maps").decode()


@pytest.mark.parametrize(
    "name", ["cmdline", "cpuinfo", "filesystems", "loadavg", "meminfo", "mounts", "stat"]
)
def test_files_about_the_machine(kernel, name):
    assert kernel.cat(f"/proc/{name}").endswith(b"\n")


def test_mounting(kernel, process):
    root = kernel.process()

    def mount(caller, kind, place):
        text = [caller.put(word.encode() + b"\0") for word in ("none", place, kind)]
        return caller.syscall("mount", *text, 0, 0)

    assert mount(root, "debugfs", "/sys/kernel/debug") == -errno.EBUSY
    assert mount(root, "proc", "/proc") == -errno.EBUSY
    assert mount(root, "nosuch", "/tmp") == -errno.ENODEV
    assert mount(root, "proc", "/nowhere") == -errno.ENOENT
    assert mount(process, "proc", "/tmp") == -errno.EPERM
    assert root.syscall("umount", root.put(b"/tmp\0"), 0) == -errno.EINVAL
    assert root.syscall("umount", root.put(b"/proc\0"), 0) == -errno.EBUSY


@needs_busybox
def test_ps_and_its_kin(shell):
    result = text(
        shell.sh("sleep 9 & ps -o pid,ppid,stat,comm; cat /proc/$!/cmdline | tr '\\0' ' '; kill $!")
    )
    rows = [line.split() for line in result.splitlines()]
    assert ["2", "0", "SW", "kthreadd"] in rows
    (sleeper,) = [row for row in rows if row[-1] == "sleep"]
    assert sleeper[2] == "S"
    assert rows[-1] == ["sleep", "9"]
    assert "proc on /proc type proc (rw,relatime)" in text(shell.sh("mount"))
    assert text(shell.sh("free")).split()[6:8] == ["Mem:", "131072"]
    assert "sleep" in text(shell.sh("sleep 9 & top -b -n1; kill $!"))
    assert text(shell.sh("sleep 9 & killall sleep; wait $!; echo $?")).endswith("143\n")
