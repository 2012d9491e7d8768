"""Drivers used by programs: the samples `mailbox` and `mapped`, from a shell, from C and through Python."""

import errno
import os
import select
import struct
from pathlib import Path

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.user.files import makedev
from tests.user.conftest import needs_busybox, needs_gcc

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").glob("*.txt"))
MAILBOX = Path(__file__).resolve().parents[2] / "samples" / "mailbox" / "mailbox.h"

PROGRAM = r"""
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
%s
#define SHOW(call) do { long r = call; printf("%%s = %%ld", #call, r); \
  if (r < 0) printf(" %%s", strerror(errno)); puts(""); } while (0)
int main(void) {
  setbuf(stdout, NULL);
  int fd = open("/dev/mailbox0", O_RDWR), v = 100, status;
  struct mailbox_state s;
  struct pollfd p = {fd, POLLIN | POLLOUT};
  SHOW(ioctl(fd, MAILBOX_LIMIT, &v)); v = 8;
  SHOW(ioctl(fd, MAILBOX_LIMIT, &v));
  SHOW(ioctl(fd, MAILBOX_STATE, &s)); printf("%%d of %%d\n", s.waiting, s.limit);
  SHOW(ioctl(fd, MAILBOX_STATE, 8L)); SHOW(ioctl(fd, _IO('m', 9), 0)); SHOW(lseek(fd, 0, SEEK_SET));
  SHOW(poll(&p, 1, 0)); printf("%%#x\n", p.revents);
  p.events = POLLIN; SHOW(poll(&p, 1, 250));
  int out[2]; pipe(out);
  for (int i = 0; i < 2; i++) if (!fork()) {
    char b[4]; int n = read(fd, b, 4); write(out[1], b, n); _exit(n);
  }
  usleep(100000); SHOW(write(fd, "onetwo", 6));
  int sum = 0; for (int i = 0; i < 2; i++) { wait(&status); sum += WEXITSTATUS(status); }
  char all[7] = ""; read(out[0], all, 6); printf("%%d %%s\n", sum, all);
  SHOW(poll(&p, 1, 0)); close(fd);

  fd = open("/dev/mapped", O_RDWR);
  char *map = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), b[32] = "";
  printf("%%s\n", map); strcpy(map + 4096, "from the program");
  struct iovec v2[2] = {{b, 5}, {b + 8, 11}};
  SHOW(lseek(fd, 4096, SEEK_SET)); SHOW(readv(fd, v2, 2)); printf("%%s|%%s\n", b, b + 8);
  SHOW(pwrite(fd, "FROM", 4, 0)); printf("%%s\n", map);
  SHOW((long)mmap(0, 12288, PROT_READ, MAP_SHARED, fd, 0));
  char *late = mmap(0, 4096, PROT_READ, MAP_SHARED, fd, 8192);
  close(fd);
  if (!fork()) { map[0] = 'f'; _exit(late[0] == 't' ? 0 : 1); }
  wait(&status); printf("%%d %%s %%s\n", status, map, late);
  SHOW(munmap(late, 4096)); SHOW(munmap(map, 8192));
  return 0;
}
"""
ANSWERS = """\
ioctl(fd, MAILBOX_LIMIT, &v) = -1 Invalid argument
ioctl(fd, MAILBOX_LIMIT, &v) = 0
ioctl(fd, MAILBOX_STATE, &s) = 0
0 of 8
ioctl(fd, MAILBOX_STATE, 8L) = -1 Bad address
ioctl(fd, _IO('m', 9), 0) = -1 Inappropriate ioctl for device
lseek(fd, 0, SEEK_SET) = -1 Illegal seek
poll(&p, 1, 0) = 1
0x4
poll(&p, 1, 250) = 0
write(fd, "onetwo", 6) = 6
6 onetwo
poll(&p, 1, 0) = 0
from the module
lseek(fd, 4096, SEEK_SET) = 4096
readv(fd, v2, 2) = 16
from |the program
pwrite(fd, "FROM", 4, 0) = 4
FROM the module
(long)mmap(0, 12288, PROT_READ, MAP_SHARED, fd, 0) = -1 No such device or address
0 fROM the module touched
munmap(late, 4096) = 0
munmap(map, 8192) = 0
"""


@needs_gcc
def test_a_c_program_uses_two_drivers(shell, compile_c):
    for name in ("mailbox", "mapped"):
        shell.kernel.insmod(samples.path(name))
    shell.put("/p", compile_c(PROGRAM % MAILBOX.read_text(), "-static"))
    result = shell.run("/p")
    assert result.stdout.decode() == ANSWERS
    assert result.status == 0
    log = [line for line in shell.kernel.dmesg() if line.startswith("mapped: ") and "taint" not in line]
    counts = [f"{n} mappings" for n in (1, 2, 3, 4, 3, 2, 1, 0)]
    assert [line.removeprefix("mapped: ") for line in log] == [
        *counts[:4], "fault 1 at page 2", *counts[4:6], "fault 2 at page 2", *counts[6:]
    ]  # fmt: skip
    for name in ("mailbox", "mapped"):
        shell.kernel.rmmod(name)


@needs_busybox
@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: path.stem)
def test_a_shell_s_session_with_a_driver(shell, path):
    shell.put(f"/{path.stem}.ko", samples.path(path.stem).read_bytes())
    text = ""
    for line in path.read_text().splitlines():
        if line.startswith("$ "):
            text += f"{line}\n{shell.sh(line[2:]).stdout.decode()}"
    assert text == path.read_text()


@pytest.fixture
def process():
    kernel = Kernel()
    kernel.insmod(samples.path("mailbox"))
    kernel.insmod(samples.path("mapped"))
    return kernel.process()


def test_several_pieces_are_one_call_of_a_driver_with_iterators(process):
    fd = process.open("/dev/mapped", os.O_RDWR)
    assert process.writev(fd, [b"one ", b"two ", b"three"]) == 13
    assert process.lseek(fd, 2, os.SEEK_SET) == 2
    pieces = [bytearray(4), bytearray(7)]
    assert process.readv(fd, pieces) == 11
    assert pieces == [b"e tw", b"o three"]
    assert process.pread(fd, 100, 8192) == b""
    for call, number in (("pread64", errno.EFAULT), ("pwrite64", errno.EFAULT)):
        assert process.syscall(call, fd, 8, 4, 0) == -number
    assert process.syscall("pwrite64", fd, 8, 4, 8192) == -errno.ENOSPC


def test_a_mapping_holds_its_module(process):
    kernel = process.kernel
    fd = process.open("/dev/mapped", os.O_RDWR)
    place = process.syscall("mmap", 0, 4096, 3, 1, fd, 0)
    process.close(fd)
    assert kernel.modules[0].refcnt == 1
    with pytest.raises(KernelError) as error:
        kernel.rmmod("mapped")
    assert error.value.errno == errno.EAGAIN
    assert process.get(place, 15) == b"from the module"
    process.syscall("munmap", place, 4096)
    kernel.rmmod("mapped")


def test_an_attribute_of_a_device_tells_who_polls_it(process):
    fd = process.open("/sys/class/mailbox/mailbox0/waiting")
    assert process.read(fd, 10) == b"0\n"
    news = select.POLLPRI | select.POLLERR
    assert process.poll({fd: news}, 100) == {}
    box = process.open("/dev/mailbox0", os.O_WRONLY)
    process.write(box, b"abc")
    assert process.poll({fd: news}, 100) == {fd: news}
    assert process.pread(fd, 10, 0) == b"3\n"


def test_epoll_keeps_its_list(process):
    box = process.open("/dev/mailbox0", os.O_RDWR)
    ep = process.syscall("epoll_create1", 0)
    event = process.memory.map(4096)

    def control(operation, fd=box, events=select.EPOLLIN, data=77):
        place = process.put(struct.pack("<IQ", events, data))
        return process.syscall("epoll_ctl", ep, operation, fd, place)

    def wait(most=4, timeout=100):
        count = process.syscall("epoll_wait", ep, event, most, timeout)
        return list(struct.iter_unpack("<IQ", process.get(event, 12 * count))) if count >= 0 else count

    add, delete, modify = 1, 2, 3
    assert control(add) == 0
    assert control(add) == -errno.EEXIST
    assert control(add, fd=ep) == -errno.EINVAL
    assert control(add, fd=99) == -errno.EBADF
    assert control(add, fd=process.open("/tmp/plain", os.O_CREAT)) == -errno.EPERM
    assert wait() == []
    process.write(box, b"abc")
    assert wait() == wait() == [(select.EPOLLIN, 77)]
    assert process.poll({ep: select.POLLIN}, 0) == {ep: select.POLLIN}
    assert control(modify, events=select.EPOLLIN | select.EPOLLOUT | select.EPOLLONESHOT, data=5) == 0
    assert wait() == [(select.EPOLLIN | select.EPOLLOUT, 5)]
    assert wait() == []
    assert control(modify, events=select.EPOLLIN | select.EPOLLET) == 0
    assert (wait(), wait()) == ([(select.EPOLLIN, 77)], [])
    assert process.read(box, 10) == b"abc"
    assert wait() == []
    process.write(box, b"d")
    assert (wait(), wait()) == ([(select.EPOLLIN, 77)], [])
    assert control(delete) == 0
    assert control(delete) == -errno.ENOENT
    assert wait(most=0) == -errno.EINVAL
    assert process.syscall("epoll_wait", box, event, 1, 0) == -errno.EINVAL
    control(add)
    process.close(box)
    assert wait() == []


def test_a_driver_that_returns_more_than_it_was_asked_for_is_named(process):
    kernel = process.kernel
    process.write(process.open("/sys/module/mailbox/parameters/boast", os.O_WRONLY), b"10")
    box = process.open("/dev/mailbox0", os.O_RDWR)
    process.write(box, b"abc")
    assert process.syscall("read", box, process.memory.map(4096), 3) == 13  # as Linux does
    report = kernel.findings.reports[-1]
    assert report["kind"] == "driver"
    assert report["text"].startswith("mailbox_read+0x0/")
    assert report["text"].endswith("[mailbox] returned 13 for a read of 3 bytes")


@needs_busybox
def test_the_shell_session_word_for_word(shell):
    shell.put("/hello.ko", samples.path("hello").read_bytes())
    shell.kernel.insmod(samples.path("echo"))
    with shell.kernel.process() as process:
        process.mknod("/dev/echo", 0o020666, makedev(246, 0))
    result = shell.run(
        "/bin/busybox",
        "sh",
        "-c",
        "insmod hello.ko; lsmod; cat /proc/modules; echo hi > /dev/echo; cat /dev/echo; dmesg; rmmod hello",
    )
    lines = result.stdout.decode().splitlines()
    assert result.status == 0
    assert lines[1].split() == ["hello", "16384", "0"]
    assert lines[3].split()[:5] == ["hello", "16384", "0", "-", "Live"]
    assert lines[5] == "hi"
    assert any(line.endswith("Hello world!") for line in lines[6:])
    assert [module.name for module in shell.kernel.modules] == ["echo"]


@needs_busybox
def test_reading_kmsg_waits_for_the_next_record(shell):
    shell.put("/mailbox.ko", samples.path("mailbox").read_bytes())
    reader = "dd if=/dev/kmsg bs=1k 2>/dev/null & sleep 1"
    script = f"{reader}; insmod mailbox.ko; echo from sh > /dev/kmsg; sleep 1; kill $!"
    lines = shell.sh(script).stdout.decode().splitlines()
    assert [line.partition(";")[2] for line in lines[-2:]] == ["mailbox mailbox0: ready", "from sh"]
    assert lines[-1].startswith("4,")
