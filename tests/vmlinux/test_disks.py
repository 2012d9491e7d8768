"""Block devices of a distribution's kernel: brd, loop and dm, and file systems on them that the host made."""

import os
import shutil
import struct
import subprocess

import pytest

from kmod_emu import KernelError

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
LOOP_SET_FD, LOOP_CLR_FD = 0x4C00, 0x4C01
DM_HEAD = struct.Struct("<3I I I I i I I 4x Q 128s 129s 7x")
DM_TARGET = struct.Struct("<QQiI16s")
DM_DEV_CREATE, DM_DEV_SUSPEND, DM_TABLE_LOAD = 3, 6, 9


def tool(name):
    found = shutil.which(name, path=PATH)
    if found is None:
        pytest.skip(f"{name} is absent (e2fsprogs, xfsprogs)")
    return found


@pytest.fixture
def disk(real, load):
    """Attaches a file of the host to the machine's first loop device."""

    def attach(image, mode=""):
        load("loop")
        real.userland.bind(image, "/image", mode)
        process = real.process()
        loop, file = process.open("/dev/loop0", os.O_RDWR), process.open("/image", os.O_RDWR)
        process.enter("ioctl", loop, LOOP_SET_FD, file)
        return process

    return attach


def mount(process, kind, flags=0):
    process.mkdir("/mnt/disk")
    words = [process.put(word.encode() + b"\0") for word in ("/dev/loop0", "/mnt/disk", kind)]
    process.enter("mount", *words, flags, 0)


def use(process):
    """Write, make names and read back."""
    fd = process.open("/mnt/disk/hello", os.O_CREAT | os.O_RDWR)
    process.write(fd, b"hello\n")
    process.close(fd)
    process.mkdir("/mnt/disk/directory")
    fd = process.open("/mnt/disk/directory/large", os.O_CREAT | os.O_RDWR)
    for number in range(10):
        process.write(fd, bytes([number]) * 10_000)
    assert process.pread(fd, 2, 9_999) == b"\0\1"
    process.close(fd)
    process.symlink("hello", "/mnt/disk/link")
    assert process.read_file("/mnt/disk/link") == b"hello\n"
    process.enter("umount", process.put(b"/mnt/disk\0"), 0)
    process.enter("ioctl", process.open("/dev/loop0", os.O_RDWR), LOOP_CLR_FD, 0)


def test_an_ext4_file_system_is_used_and_stays_consistent(real, load, disk, tmp_path):
    image, source = tmp_path / "disk", tmp_path / "source"
    source.mkdir()
    (source / "made").write_text("by the host\n")
    subprocess.run([tool("mkfs.ext4"), "-q", "-d", source, image, "4M"], check=True)
    before = image.read_bytes()
    load("crc32c_generic", "ext4")
    with disk(image, "rw") as process:
        mount(process, "ext4")
        assert process.read_file("/mnt/disk/made") == b"by the host\n"
        use(process)
    assert "EXT4-fs (loop0): mounted filesystem with ordered data mode. Quota mode: none." in real.dmesg()
    assert image.read_bytes() == before
    real.userland.give_back()
    checked = subprocess.run([tool("e2fsck"), "-f", "-n", image], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    shown = subprocess.run([tool("debugfs"), "-R", "cat hello", image], capture_output=True)
    assert shown.stdout == b"hello\n"


def test_an_xfs_file_system_is_used_and_stays_consistent(real, load, disk, tmp_path):
    image = tmp_path / "disk"
    with open(image, "wb") as file:
        file.truncate(300 << 20)  # the smallest that mkfs.xfs makes; the machine has less memory
    subprocess.run([tool("mkfs.xfs"), "-q", image], check=True)
    load("crc32c_generic", "xfs")
    with disk(image, "rw") as process:
        mount(process, "xfs")
        use(process)
    real.userland.give_back()
    assert image.stat().st_blocks * 512 < 100 << 20  # its holes are holes
    subprocess.run([tool("xfs_repair"), "-n", "-f", image], check=True, capture_output=True)
    shown = subprocess.run([tool("xfs_db"), "-f", "-c", "ls /", image], capture_output=True, text=True)
    assert "hello" in shown.stdout


def test_what_is_no_file_system_is_refused(real, load, disk, tmp_path):
    image = tmp_path / "disk"
    image.write_bytes(os.urandom(64) + bytes(1 << 20))
    load("crc32c_generic", "ext4")
    with disk(image) as process, pytest.raises(KernelError) as refused:
        mount(process, "ext4")
    assert refused.value.errno == 22
    assert "EXT4-fs (loop0): VFS: Can't find ext4 filesystem" in real.dmesg()


def test_a_ram_disk_through_the_device_mapper(real, load):
    load("brd", "dm_mod")
    with real.process() as process:
        control = process.open("/dev/mapper/control", os.O_RDWR)

        def ask(command, payload=b"", count=0):
            head = DM_HEAD.pack(
                4, 0, 0, DM_HEAD.size + len(payload), DM_HEAD.size, count, 0, 0, 0, 0, b"mapped", b""
            )
            number = 3 << 30 | DM_HEAD.size << 16 | 0xFD << 8 | command
            process.enter("ioctl", control, number, process.put(head + payload))

        ask(DM_DEV_CREATE)
        parameters = b"/dev/ram0 8".ljust(16, b"\0")
        ask(DM_TABLE_LOAD, DM_TARGET.pack(0, 16, 0, DM_TARGET.size + 16, b"linear") + parameters, 1)
        ask(DM_DEV_SUSPEND)
        mapped, ram = process.open("/dev/dm-0", os.O_RDWR), process.open("/dev/ram0")
        process.pwrite(mapped, b"through the mapper", 0)
        process.fsync(mapped)
        assert process.pread(ram, 18, 8 * 512) == b"through the mapper"
