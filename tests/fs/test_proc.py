"""Entries of modules in /proc: what a real kernel answered to the same calls on the module b_proc."""

import errno
import os

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.fs.proc_generic import ProcTree
from tests.conftest import RECORDINGS
from tests.module.test_behaviour import Session, insmod

B_PROC = RECORDINGS / "behaviour" / "b_proc.ko"
TEXT = b"val=1\nline two\nx\n"


@pytest.fixture
def kernel():
    kernel = Kernel()
    kernel.insmod(B_PROC)
    return kernel


@pytest.fixture
def process(kernel):
    return kernel.process(comm="b_user")


def number(call, *arguments):
    with pytest.raises(KernelError) as caught:
        call(*arguments)
    return errno.errorcode[caught.value.errno]


def listing(session):
    with session.kernel.process() as process:
        rows = []
        for name in sorted(process.listdir("/proc/b_proc")):
            facts = process.stat(f"/proc/b_proc/{name}", follow_symlinks=False)
            rows.append((name, oct(facts.mode), facts.size))
    return rows


def test_loading_warns_of_the_duplicate_as_recorded():
    session = Session("proc")
    step = insmod("b_proc", echo=True)
    out = step(session)
    assert out == "rc=0\n"
    assert listing(session) == [
        ("link", "0o120777", 3), ("seq", "0o100444", 0), ("single", "0o100400", 0), ("val", "0o100644", 0),
    ]  # fmt: skip
    lines = session.kernel.dmesg()
    start = lines.index("------------[ cut here ]------------")
    assert lines[start + 1] == "proc_dir_entry 'b_proc/val' already registered"
    assert lines[start + 2].endswith("at fs/proc/generic.c:400 proc_register+0x19f/0x240")
    assert lines[-1] == "b_proc: dup=0000000000000000"


def test_reading_and_writing(kernel, process):
    assert kernel.cat("/proc/b_proc/val") == TEXT
    fd = process.open("/proc/b_proc/val", os.O_RDWR)
    assert process.write(fd, b"5\n") == 2
    assert kernel.dmesg()[-1] == "b_proc: val=5"
    assert kernel.cat("/proc/b_proc/link") == TEXT.replace(b"1", b"5", 1)
    assert number(process.write, fd, b"x\n") == "EINVAL"
    assert number(process.write, fd, b"99999999999") == "ERANGE"
    assert number(process.write, fd, b"") == "EINVAL"


def test_a_sequential_file_is_read_in_pieces(kernel, process):
    fd = process.open("/proc/b_proc/val", os.O_RDWR)
    assert [process.read(fd, 6), process.read(fd, 100), process.read(fd, 100)] == [TEXT[:6], TEXT[6:], b""]
    assert process.lseek(fd, 0, os.SEEK_SET) == 0
    assert process.read(fd, 100) == TEXT
    assert process.lseek(fd, 4, os.SEEK_SET) == 4
    assert process.read(fd, 4) == TEXT[4:8]
    assert number(process.lseek, fd, 0, os.SEEK_END) == "EINVAL"
    assert process.pread(fd, 8, 2) == TEXT[2:10]


def test_many_records_come_in_buffers(kernel, process):
    fd = process.open("/proc/b_proc/seq", os.O_RDONLY)
    reads = []
    while piece := process.read(fd, 65536):
        reads.append(piece)
    assert (len(b"".join(reads)), len(reads)) == (9790, 3)
    assert process.lseek(fd, 3300, os.SEEK_SET) == 3300
    assert process.read(fd, 33) == b" a long sequence file\nitem 104 of"


def test_what_the_module_left_out(kernel, process):
    fd = process.open("/proc/b_proc/val", os.O_RDWR)
    assert process.syscall("ioctl", fd, 0x1234, 0) == -errno.ENOTTY
    seq = process.open("/proc/b_proc/seq", os.O_WRONLY)  # root may
    assert number(process.write, seq, b"x") == "EIO"


def test_nobody_makes_files_there(kernel, process):
    create = os.O_CREAT | os.O_RDWR
    assert number(process.open, "/proc/b_proc/none", os.O_RDONLY) == "ENOENT"
    assert number(process.open, "/proc/b_proc/new", create, 0o644) == "ENOENT"
    assert number(process.unlink, "/proc/b_proc/val") == "EPERM"
    assert number(process.mkdir, "/proc/b_proc/x", 0o755) == "ENOENT"
    assert process.readlink("/proc/b_proc/link") == "val"


def test_permissions(kernel):
    user = kernel.process(uid=1000, gid=1000)
    assert number(user.open, "/proc/b_proc/val", os.O_RDWR) == "EACCES"
    assert number(user.open, "/proc/b_proc/single", os.O_RDONLY) == "EACCES"
    assert user.read(user.open("/proc/b_proc/val", os.O_RDONLY), 100) == TEXT


def test_an_open_file_does_not_keep_the_module(kernel, process):
    fd = process.open("/proc/b_proc/val", os.O_RDONLY)
    assert kernel.modules[0].refcnt == 0
    kernel.rmmod("b_proc")
    assert number(process.read, fd, 10) == "EIO"
    assert number(process.open, "/proc/b_proc/val", os.O_RDONLY) == "ENOENT"
    process.close(fd)
    assert set(kernel[ProcTree].by_address) == set(Kernel()[ProcTree].by_address)


def test_it_survives_saving(kernel, tmp_path):
    kernel.save(tmp_path / "machine")
    again = Kernel.load(tmp_path / "machine")
    assert again.cat("/proc/b_proc/val") == TEXT
    assert len(again.cat("/proc/b_proc/seq")) == 9790
    again.rmmod("b_proc")
    with again.process() as process:
        assert "b_proc" not in process.listdir("/proc")


def test_rmmod_gives_everything_back(kernel):
    kernel.cat("/proc/b_proc/val")  # from now on guest memory knows of /proc itself
    kernel.rmmod("b_proc")
    before = kernel.held()
    kernel.insmod(B_PROC)
    kernel.cat("/proc/b_proc/val")
    kernel.cat("/proc/b_proc/seq")
    kernel.rmmod("b_proc")
    assert kernel.held() == before


@pytest.mark.parametrize(
    ("name", "warning"),
    [
        ("123", "create '/proc/123' by hand"),
        (".", "name '.'"),
        ("..", "name '..'"),
        ("", "name len 0"),
        ("n" * 256, "name len 256"),
        ("no/such", "name 'no/such'"),
        ("uptime", "proc_dir_entry '/proc/uptime' already registered"),
    ],
)
def test_bad_names(kernel, name, warning):
    text = kernel.heap.kmalloc(512)
    kernel.memory.write(text, name.encode() + b"\0")
    assert kernel.call(kernel.symbol("proc_mkdir"), text, 0) == 0
    assert warning in kernel.dmesg()
    kernel.printk.clear()
    kernel.call(kernel.symbol("remove_proc_entry"), text, 0)
    assert f"name '{name}'" in kernel.dmesg()


def test_a_list_behind_a_sequential_file():
    kernel = Kernel()
    kernel.insmod(samples.path("procfs"))
    with kernel.process(uid=1000, gid=1000) as process:
        fd = process.open("/proc/kmod_emu_demo/words", os.O_WRONLY)
        for word in (b"apple\n", b"plum\n"):
            assert process.write(fd, word) == len(word)
        assert number(process.write, fd, bytes(40)) == "EINVAL"
        assert process.syscall("write", fd, 8, 3) == -errno.EFAULT
    assert kernel.cat("/proc/kmod_emu_demo/words") == b"apple     5\nplum      4\n"
    assert kernel.cat("/proc/kmod_emu_demo/count") == b"2 words\n"
    kernel.rmmod("procfs")
    assert kernel.dmesg()[-2:] == ["procfs: forgets apple", "procfs: forgets plum"]
