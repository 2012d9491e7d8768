"""Open files and processes in snapshots and in saved machines."""

import os
import stat

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.user.execute import put_file
from kmod_emu.user.files import makedev
from tests.user.conftest import BUSYBOX, needs_busybox


@pytest.fixture
def kernel():
    kernel = Kernel()
    kernel.insmod(samples.path("echo"))
    with kernel.process() as root:
        root.mknod("/dev/echo", stat.S_IFCHR | 0o666, makedev(246, 0))
    return kernel


@pytest.fixture
def process(kernel):
    return kernel.process(comm="holder")


def refcnt(kernel):
    return kernel.modules[0].refcnt


def test_a_snapshot_has_the_open_files(kernel, process):
    fd = process.open("/dev/echo", os.O_RDWR)
    note = process.open("/tmp/note", os.O_CREAT | os.O_RDWR)
    process.write(note, b"before")
    process.write(fd, b"before")
    moment = kernel.snapshot()
    process.write(fd, b"after")
    process.write(note, b" and after")
    process.close(fd)
    other = process.open("/dev/null")
    assert other == fd
    for _ in range(2):
        kernel.restore(moment)
        assert refcnt(kernel) == 2
        assert process.read(fd, 20) == b"before"
        assert (process.lseek(note, 0, os.SEEK_CUR), process.pread(note, 20, 0)) == (6, b"before")
        process.close(fd)
        assert refcnt(kernel) == 0
        with pytest.raises(KernelError, match="Bad file descriptor"):
            process.read(fd, 1)


def test_restoring_takes_back_what_was_opened_since(kernel, process):
    moment = kernel.snapshot()
    fd = process.open("/dev/echo")
    kernel.restore(moment)
    with pytest.raises(KernelError, match="Bad file descriptor"):
        process.read(fd, 1)
    assert refcnt(kernel) == 0


def test_files_that_were_unlinked_or_duplicated_survive_too(kernel, process):
    fd = process.open("/dev/echo", os.O_RDWR)
    copy = process.dup(fd)
    process.unlink("/dev/echo")
    moment = kernel.snapshot()
    process.close(fd)
    kernel.restore(moment)
    process.close(fd)
    assert (process.write(copy, b"x"), refcnt(kernel)) == (1, 2)
    process.close(copy)
    assert refcnt(kernel) == 0


def test_a_loaded_machine_has_closed_the_files_of_its_processes(kernel, process, tmp_path):
    process.open("/dev/echo", os.O_RDWR)
    process.dup(process.open("/dev/echo", os.O_RDONLY))
    kernel.save(tmp_path / "m")
    assert refcnt(kernel) == 4  # saving changes nothing
    loaded = Kernel.load(tmp_path / "m")
    assert loaded.ended == [
        f"holder (pid {process.pid}) ended with the machine that was saved; it had /dev/echo open"
    ]
    assert refcnt(loaded) == 0
    assert process.pid not in loaded.tasks.by_pid
    loaded.rmmod("echo")
    loaded.save(tmp_path / "m")
    assert Kernel.load(tmp_path / "m").ended == []


@pytest.fixture
def reader(kernel):
    """A process that sleeps in a driver's read(): a part of its stack is in the driver's queue."""
    kernel.insmod(samples.path("mailbox"))
    process = kernel.process(comm="reader")
    fd = process.open("/dev/mailbox0", os.O_RDWR)
    process.start("read", fd, process.put(bytes(100)), 100)
    kernel.advance(0.01)
    assert not process.task.finished
    return process


def write(kernel):
    """Write to the mailbox, which wakes all that sleep there."""
    with kernel.process() as writer:
        writer.write(writer.open("/dev/mailbox0", os.O_RDWR), b"hello")


def test_who_sleeps_in_a_driver_leaves_it_before_it_ends(kernel, reader, tmp_path):
    """Its stack was freed, and the driver's queue led there: the next who woke it jumped anywhere."""
    kernel.save(tmp_path / "m")
    loaded = Kernel.load(tmp_path / "m")
    assert [text.partition(" ")[0] for text in loaded.ended] == ["reader"]
    write(loaded)
    loaded.rmmod("mailbox")
    assert loaded.findings.reports == []


def test_who_sleeps_in_a_driver_goes_on_after_a_restore(kernel, reader):
    moment = kernel.snapshot()
    for _ in range(2):
        kernel.restore(moment)
        write(kernel)
        assert reader.wait() == len(b"hello")
    assert kernel.findings.reports == []


def test_who_sleeps_in_a_driver_can_be_ended(kernel, reader):
    reader.exit()
    write(kernel)
    kernel.rmmod("mailbox")
    assert kernel.findings.reports == []


def test_who_no_signal_reaches_stays(kernel, tmp_path):
    """As in Linux: a process that waits for a mutex."""
    process = kernel.process(comm="stuck")
    image = samples.path("selfdeadlock").read_bytes()
    process.start("init_module", process.put(image), len(image), process.put(b"\0"))
    kernel.advance(0.01)
    kernel.save(tmp_path / "m")
    loaded = Kernel.load(tmp_path / "m")
    who = f"stuck (pid {process.pid})"
    assert loaded.ended[-1] == f"{who} cannot end with the machine that was saved: no signal reaches it"
    assert process.pid in loaded.tasks.by_pid
    assert [module.state.name for module in loaded.modules if module.name == "selfdeadlock"] == ["COMING"]


def test_the_driver_s_release_runs(kernel, tmp_path):
    """Of mailbox, whose second opener waits until the first is gone; and of a file in /proc."""
    kernel.insmod(samples.path("debugfs"))
    kernel.insmod(samples.path("procfs"))
    kernel.insmod(samples.path("fasync"))
    process = kernel.process()
    paths = ["/dev/echo", *(f"/proc/kmod_emu_demo/{name}" for name in process.listdir("/proc/kmod_emu_demo"))]
    top = "/sys/kernel/debug/kmod_emu_demo"
    paths += [f"{top}/{name}" for name in process.listdir(top) if process.stat(f"{top}/{name}").mode & 0o400]
    held = kernel.held()
    for path in paths:
        process.read(process.open(path), 10)
    process.unlink("/dev/echo")
    kernel.save(tmp_path / "m")
    loaded = Kernel.load(tmp_path / "m")
    assert not loaded.findings.reports
    assert [module.refcnt for module in loaded.modules] == [0] * 4
    for module in loaded.modules:
        loaded.rmmod(module.name)
    assert loaded.held().keys() == held.keys()


def test_device_mappings(tmp_path):
    kernel = Kernel()
    kernel.insmod(samples.path("mapped"))
    process = kernel.process()
    fd = process.open("/dev/mapped", os.O_RDWR)
    address = process.syscall("mmap", 0, 8192, 3, 1, fd, 0)
    assert process.syscall("close", fd) == 0
    moment, used = kernel.snapshot(), kernel.pages.allocated
    process.syscall("munmap", address, 8192)
    assert refcnt(kernel) == 0
    kernel.restore(moment)
    assert process.get(address, 5) == b"page " or process.get(address, 1)
    assert refcnt(kernel) == 1
    kernel.save(tmp_path / "m")
    loaded = Kernel.load(tmp_path / "m")
    assert refcnt(loaded) == 0
    loaded.rmmod("mapped")
    process.exit()
    kernel.rmmod("mapped")
    assert kernel.pages.allocated == loaded.pages.allocated < used


# --- what the host lends --------------------------------------------------------------------------------


@needs_busybox
def test_busybox_and_programs_are_not_saved(tmp_path):
    kernel = Kernel()
    kernel.save(tmp_path / "empty")
    result = kernel.exec(
        "/bin/busybox", ["sh", "-c", "mkdir /tmp/d; echo mine > /tmp/d/f; ls | wc -l"], busybox=BUSYBOX
    )
    assert result.status == 0
    kernel.exec(BUSYBOX.read_bytes(), ["true"])
    kernel.save(tmp_path / "m")
    assert (tmp_path / "m").stat().st_size < (tmp_path / "empty").stat().st_size + 4096
    assert kernel.exec("/bin/busybox", ["true"]).status == 0
    loaded = Kernel.load(tmp_path / "m")
    assert loaded.cat("/tmp/d/f") == b"mine\n"
    with loaded.process() as process:
        assert process.listdir("/bin") == process.listdir("/run") == []


def test_a_lent_file_that_is_changed_is_the_machine_s(tmp_path):
    kernel = Kernel()
    put_file(kernel, "/bin/tool", b"the host's", lent=True)
    with kernel.process() as process:
        process.write(process.open("/bin/tool", os.O_WRONLY), b"my")
    kernel.save(tmp_path / "m")
    assert Kernel.load(tmp_path / "m").cat("/bin/tool") == b"mye host's"


def test_a_snapshot_of_before_a_binding(tmp_path):
    kernel = Kernel()
    moment = kernel.snapshot()
    from kmod_emu.user.execute import bind

    bind(kernel, tmp_path, "/work")
    kernel.restore(moment)
    assert kernel.cat("/proc/modules") == b""
