"""Files that modules open themselves, descriptors they hand out, and paths they print."""

import os
import struct

import pytest

from kmod_emu import Kernel, samples
from kmod_emu.fs.vfs import Vfs
from kmod_emu.uapi import errno
from tests.kernel.conftest import Guest

MASK = (1 << 64) - 1


@pytest.fixture
def kernel():
    return Kernel()


@pytest.fixture
def guest(kernel):
    return Guest(kernel)


@pytest.fixture
def process(kernel):
    return kernel.process()


@pytest.fixture
def call(guest, process):
    return lambda name, *arguments: guest.as_task(process.task, name, *arguments)


def test_a_module_writes_and_reads_a_file(kernel, guest, process, call):
    held = kernel.held()
    file = call("filp_open", guest.text("/tmp/log"), os.O_CREAT | os.O_RDWR, 0o640)
    pos, room = guest.data(bytes(8)), guest.data(bytes(64))
    assert call("kernel_write", file, guest.text("hello"), 5, pos) == 5
    assert call("kernel_write", file, guest.text(" there"), 6, pos) == 6
    assert kernel.memory.read_u64(pos) == 11
    assert call("kernel_read", file, room, 5, 0) == 5
    assert (kernel.memory.read(room, 5), call("kernel_read", file, room, 64, 0)) == (b"hello", 6)
    assert call("vfs_fsync", file, 0) == 0
    place = call("d_path", kernel.view("file", file).addressof("f_path"), room, 64)
    assert (place, kernel.memory.read_cstring(place)) == (room + 64 - 9, b"/tmp/log")
    assert call("filp_close", file, 0) == 0
    assert process.read_file("/tmp/log") == b"hello there"
    assert process.stat("/tmp/log").mode & 0o777 == 0o640
    process.unlink("/tmp/log")
    assert kernel.held().keys() == held.keys()


@pytest.mark.parametrize(
    ("path", "flags", "error"),
    [
        ("/nowhere/log", os.O_CREAT | os.O_WRONLY, errno.ENOENT),
        ("/tmp", os.O_WRONLY, errno.EISDIR),
        ("/etc/passwd/x", 0, errno.ENOTDIR),
    ],
)
def test_a_file_that_cannot_be_opened_is_an_error_pointer(guest, call, path, flags, error):
    assert call("filp_open", guest.text(path), flags, 0) == -error & MASK


def test_reading_needs_the_mode_and_a_file_with_read_iter(kernel, guest, process, call):
    """Since 5.10 a device with a plain `read` cannot be read from the kernel."""
    room = guest.data(bytes(8))
    file = call("filp_open", guest.text("/etc/passwd"), os.O_WRONLY, 0)
    assert call("kernel_read", file, room, 8, 0) == -errno.EBADF & MASK
    kernel.insmod(samples.path("mailbox"))
    device = call("filp_open", guest.text("/dev/mailbox0"), os.O_RDWR | os.O_NONBLOCK, 0)
    assert call("kernel_read", device, room, 8, 0) == -errno.EINVAL & MASK
    assert kernel.modules[0].refcnt > 0
    call("fput", device)
    assert kernel.modules[0].refcnt == 0


def test_descriptors_are_reserved_before_they_are_filled(kernel, guest, process, call):
    fd = call("get_unused_fd_flags", os.O_CLOEXEC)
    assert process.open("/dev/null") == fd + 1
    file = call("filp_open", guest.text("/etc/hostname"), 0, 0)
    call("fd_install", fd, file)
    assert (process.read(fd, 20), process.fcntl(fd, 1)) == (b"kmod-emu\n", 1)
    assert call("fget", fd) == file
    assert kernel.view("file", file).f_count == 2
    call("fput", file)
    assert call("fget", 99) == 0
    other = call("get_unused_fd_flags", 0)
    call("put_unused_fd", other)
    assert process.open("/dev/null") == other


def test_paths(kernel, guest, process, call):
    fd = process.open("/tmp/a b", os.O_CREAT)
    process.close(fd)
    file = call("filp_open", guest.text("/tmp/a b"), 0, 0)
    room = guest.data(bytes(64))
    path = kernel.view("file", file).addressof("f_path")
    dentry = kernel.memory.read_u64(path + 8)

    def text(place):
        return kernel.memory.read_cstring(place)

    assert text(call("file_path", file, room, 64)) == b"/tmp/a b"
    assert text(call("dentry_path_raw", dentry, room, 64)) == b"/tmp/a b"
    assert call("d_path", path, room, 8) == -errno.ENAMETOOLONG & MASK
    process.unlink("/tmp/a b")
    assert text(call("d_path", path, room, 64)) == b"/tmp/a b (deleted)"
    device = call("filp_open", guest.text("/dev/kmsg"), 0, 0)
    assert text(call("file_path", device, room, 64)) == b"/dev/kmsg"
    inside = kernel.memory.read_u64(kernel.view("file", device).addressof("f_path") + 8)
    assert text(call("dentry_path_raw", inside, room, 64)) == b"/kmsg"


def test_paths_in_sequential_files(kernel, guest, process, call):
    process.open("/tmp/a b", os.O_CREAT)
    file = call("filp_open", guest.text("/tmp/a b"), 0, 0)
    buffer = guest.data(bytes(64))
    seq = guest.data(bytes(kernel.profile.struct("seq_file").size))
    view = kernel.view("seq_file", seq)
    view.buf, view.size = buffer, 19
    assert call("seq_file_path", seq, file, guest.text(" \t\n")) == 11
    assert kernel.memory.read_cstring(buffer) == b"/tmp/a\\040b"
    assert call("seq_file_path", seq, file, guest.text("")) & 0xFFFF_FFFF == 0xFFFF_FFFF
    assert view.get("count") == 19


# --- debugfs --------------------------------------------------------------------------------------------


@pytest.fixture
def folder(guest):
    return guest.export("debugfs_create_dir", guest.text("d"), 0)


def test_arrays_and_registers_in_debugfs(kernel, guest, folder):
    numbers = guest.data(struct.pack("<3I", 1, 2, 0xFFFF_FFFF))
    array = guest.data(struct.pack("<QI", numbers, 3))
    guest.export("debugfs_create_u32_array", guest.text("numbers"), 0o444, folder, array)
    registers = guest.data(struct.pack("<QQQQ", guest.text("CTRL"), 0, guest.text("STATUS"), 8))
    regset = guest.data(struct.pack("<QQQQ", registers, 2, numbers, 0))
    guest.export("debugfs_create_regset32", guest.text("registers"), 0o444, folder, regset)
    assert kernel.cat("/sys/kernel/debug/d/numbers") == b"1 2 4294967295\n"
    assert kernel.cat("/sys/kernel/debug/d/registers") == b"CTRL = 0x00000001\nSTATUS = 0xffffffff\n"


def test_an_array_of_large_numbers_loses_its_newline(kernel, guest, folder):
    """The buffer has eleven bytes a number and none for the NUL."""
    numbers = guest.data(struct.pack("<2I", 0xFFFF_FFFF, 0xFFFF_FFFE))
    array = guest.data(struct.pack("<QI", numbers, 2))
    guest.export("debugfs_create_u32_array", guest.text("numbers"), 0o444, folder, array)
    assert kernel.cat("/sys/kernel/debug/d/numbers") == b"4294967295 4294967294"


def test_what_is_no_bool_changes_nothing_and_is_no_error(kernel, guest, process, folder):
    place = guest.data(b"\1")
    guest.export("debugfs_create_bool", guest.text("flag"), 0o644, folder, place)
    fd = process.open("/sys/kernel/debug/d/flag", os.O_RDWR)
    assert process.write(fd, b"bogus") == 5
    assert process.pread(fd, 5, 0) == b"Y\n"
    assert process.write(fd, b"off\n") == 4
    assert kernel.memory.read(place, 1) == b"\0"


def test_renaming(kernel, guest, process, folder):
    old = guest.export("debugfs_create_dir", guest.text("old"), folder)
    guest.export("debugfs_create_u8", guest.text("value"), 0o444, old, guest.data(b"\7"))
    assert guest.export("debugfs_rename", folder, old, 0, guest.text("new")) == old
    assert kernel.cat("/sys/kernel/debug/new/value") == b"7\n"
    assert process.listdir("/sys/kernel/debug/d") == []
    assert guest.export("debugfs_rename", 0, old, 0, guest.text("d")) == -errno.EEXIST & MASK
    assert guest.export("debugfs_file_get", old) == 0
    guest.export("debugfs_remove", old)
    assert guest.export("debugfs_file_get", old) & 0xFFFF_FFFF == -errno.EIO & 0xFFFF_FFFF
    assert kernel[Vfs].lookup("/sys/kernel/debug/d")


def test_files_that_modules_hold_are_there_in_a_loaded_machine(kernel, guest, call, tmp_path):
    """The module's pointers lead to open files again: a stored one, and a device that Python serves."""
    stored = call("filp_open", guest.text("/tmp/log"), os.O_CREAT | os.O_RDWR, 0o644)
    device = call("filp_open", guest.text("/dev/urandom"), os.O_RDONLY, 0)
    call("kernel_write", stored, guest.text("before"), 6, 0)
    kernel.save(tmp_path / "m")
    loaded = Kernel.load(tmp_path / "m")
    other = Guest(loaded)
    room = other.data(bytes(8))
    assert other.export("kernel_write", stored, other.text(" after"), 6, 0) == 6
    assert loaded.cat("/tmp/log") == b"before after"
    assert other.export("kernel_read", device, room, 8, 0) == 8
    for file in (stored, device):
        assert other.export("filp_close", file, 0) == 0
    assert not loaded[Vfs].open_files
