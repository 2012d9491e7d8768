"""The recorded session with a character device: the system calls of b_user.c, made by a process."""

import os
import stat

from kmod_emu import KernelError
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.errname import errname
from kmod_emu.uapi import errno
from kmod_emu.user.files import makedev
from tests.module.test_behaviour import SESSIONS, Session, insmod, rmmod

BAD = 8  # an address where nothing is mapped
FIONREAD = 0x541B


class User:
    """Prints what b_user.c prints: each call as it stands in the source, and its result."""

    def __init__(self, process) -> None:
        self.process, self.out = process, ""

    def say(self, text: str, call: str | int, *arguments: int) -> int:
        """C(text): the call by name, or its result."""
        result = self.process.syscall(call, *arguments) if isinstance(call, str) else call
        value = f"-1 {errname(-result)}" if result < 0 else str(result)
        self.out += f"{text} = {value}\n"
        return result

    def path(self, path: str) -> int:
        return self.process.put(path.encode() + b"\0")

    def open(self, text: str, path: str, flags: int, mode: int = 0) -> int:
        return self.say(text, "open", self.path(path), flags, mode)

    def show(self, fd: int, count: int) -> None:
        """rdshow()"""
        place = self.process.put(bytes(200))
        result = self.say(f"read(fd,buf,{count})", "read", fd, place, count)
        if result > 0:
            data = self.process.get(place, result)
            self.out += "  data:" + "".join(chr(b) if 32 <= b < 127 else "." for b in data) + "\n"

    def write(self, text: str, fd: int, data: bytes) -> int:
        return self.say(text, "write", fd, self.process.put(data), len(data))


def seeks_and_transfers(u: User, fd: int) -> None:
    def seek(offset: int, name: str, whence: int) -> None:
        u.say(f"lseek(fd,{offset},{name})", "lseek", fd, offset, whence)

    place = u.process.put(bytes(16))
    u.show(fd, 10)
    u.write('write(fd,"hello world",11)', fd, b"hello world")
    u.show(fd, 5)
    seek(0, "SEEK_SET", 0)
    for count in (5, 100, 100):
        u.show(fd, count)
    seek(-3, "SEEK_CUR", 1)
    u.show(fd, 100)
    for offset, name, whence in (
        (0, "SEEK_END", 2),
        (1, "SEEK_END", 2),
        (-1, "SEEK_SET", 0),
        (64, "SEEK_SET", 0),
    ):
        seek(offset, name, whence)
    u.write('write(fd,"x",1)', fd, b"x")
    seek(60, "SEEK_SET", 0)
    u.write('write(fd,"123456789",9)', fd, b"123456789")
    seek(0, "99", 99)
    u.say("write(fd,(void*)8,4)", "write", fd, BAD, 4)
    u.say("read(fd,(void*)8,4)", "read", fd, BAD, 4)
    u.say("pread(fd,(char[9]){0},4,2)", "pread64", fd, place, 4, 2)
    u.say('pwrite(fd,"ZZ",2,1)', "pwrite64", fd, u.process.put(b"ZZ"), 2, 1)
    seek(0, "SEEK_SET", 0)
    u.show(fd, 12)
    u.say("read(fd,(void*)8,0)", "read", fd, BAD, 0)


def b_user_chrdev(session: Session) -> str:
    """t_chrdev()"""
    process = session.kernel.process(comm="b_user")
    u, device = User(process), "/dev/bc0"
    process.umask(0o022)
    major = next(
        int(line.split()[0]) for line in session.cat("/proc/devices").splitlines() if "b_chrdev" in line
    )
    u.out = f"major>0: {int(major > 0)}\n"
    for path, minor in ((device, 0), ("/dev/bc7", 7), ("/dev/bcbad", 300)):
        text = f'mknod("{path}",S_IFCHR|0666,makedev(m,{minor}))'
        u.say(text, "mknod", u.path(path), stat.S_IFCHR | 0o666, makedev(major, minor))
    u.open('open("/dev/bc7",O_RDWR)', "/dev/bc7", os.O_RDWR)
    u.open('open("/dev/bcbad",O_RDWR)', "/dev/bcbad", os.O_RDWR)
    fd = u.open("fd=open(D,O_RDWR)", device, os.O_RDWR)
    seeks_and_transfers(u, fd)
    place = process.put(bytes(16))
    u.say("ioctl(fd,0x1234,0)", "ioctl", fd, 0x1234, 0)
    u.say("ioctl(fd,FIONREAD,(int[1]){0})", "ioctl", fd, FIONREAD, place)
    for call in ("fsync", "fdatasync"):
        u.say(f"{call}(fd)", call, fd)
    u.say("ftruncate(fd,0)", "ftruncate", fd, 0)
    file = session.kernel[Vfs].files(process.task).get(fd)
    mapped = 0 if file.op.can(file, "mmap") else -errno.ENODEV
    u.say("mmap(0,4096,PROT_READ,MAP_SHARED,fd,0)==MAP_FAILED?-1:0", mapped)
    ready = process.poll({fd: 5}, 0)
    u.out += f"poll(&p,1,0) = {len(ready)}\nrevents={ready[fd]:#x}\n"
    fd2 = u.say("fd2=dup(fd)", "dup", fd)
    u.say("close(fd)", "close", fd)
    u.write('write(fd2,"dup",3)', fd2, b"dup")
    for _ in range(2):
        u.say("close(fd2)", "close", fd2)
    fd = u.open("fd=open(D,O_WRONLY|O_APPEND)", device, os.O_WRONLY | os.O_APPEND)
    u.say("read(fd,(char[4]){0},4)", "read", fd, place, 4)
    u.write('write(fd,"APP",3)', fd, b"APP")
    u.say("close(fd)", "close", fd)
    fd = u.open("fd=open(D,O_RDONLY)", device, os.O_RDONLY)
    u.write('write(fd,"x",1)', fd, b"x")
    status = process.fstat(fd)
    u.say("fstat(fd,&s)", 0)
    kind = int(stat.S_ISCHR(status.mode))
    u.out += f"mode={status.mode:o} size={status.size} blksize={status.blksize} chr={kind}\n"
    u.say("readv(fd,v,2)", process.readv(fd, [bytearray(3), bytearray(4)]))
    u.say("close(fd)", "close", fd)
    u.open("open(D,O_RDONLY|O_DIRECTORY)", device, os.O_RDONLY | os.O_DIRECTORY)
    u.open("open(D,O_CREAT|O_EXCL|O_RDWR,0600)", device, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    fd = u.open("fd=open(D,O_RDWR|O_TRUNC)", device, os.O_RDWR | os.O_TRUNC)
    with fork(session, process, "b_user") as child:
        u.out += f'child write(fd,"child",5) = {child.write(fd, b"child")}\n'
    u.say("close(fd)", "close", fd)
    process.exit()
    with session.kernel.process() as sweeper:
        for path in (device, "/dev/bc7", "/dev/bcbad"):
            sweeper.unlink(path)
    return u.out


def fork(session: Session, parent, comm: str):
    """A child with its parent's descriptors."""
    child = session.kernel.process(comm=comm)
    session.kernel[Vfs].fork(parent.task, child.task)
    return child


def shell(session: Session, text: bytes, path: str) -> None:
    """echo text > path: busybox opens it, makes it descriptor 1 and closes the first."""
    with session.kernel.process(comm="busybox") as process:
        fd = process.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        process.dup2(fd, 1)
        process.close(fd)
        process.write(1, text)


def around_the_shell(session: Session) -> str:
    """The third step."""
    kernel, path = session.kernel, "/tmp/bc"
    with kernel.process() as root:
        root.mknod(path, stat.S_IFCHR | 0o644, makedev(246, 0))
    shell(session, b"hello\n", path)
    with kernel.process(comm="cat") as cat:
        fd, out = cat.open(path), b""
        while piece := cat.read(fd, 65536):
            out += piece
        cat.close(fd)
    out = out.replace(b"\0", b".").decode()
    shell(session, b"0123456789", path)
    with kernel.process(comm="dd") as dd:
        fd = dd.open(path)
        dd.dup2(fd, 0)
        dd.close(fd)
        data = b"".join(dd.read(0, 4) for _ in range(3))
    shown = "".join(f"{chr(b):>4}" if b else "  \\0" for b in data)
    out += f"0000000{shown}\n0000014\n"
    holder = kernel.process(comm="b_user")
    out += f"hold {holder.open(path, os.O_RDONLY | os.O_NONBLOCK)} \n"
    out += (
        " ".join(session.cat("/proc/modules").split()[:5]) + "\n" + session.cat("/sys/module/b_chrdev/refcnt")
    )
    out += rmmod("b_chrdev", echo=True)(session)
    holder.exit()
    out += rmmod("b_chrdev", echo=True)(session)
    try:
        kernel.cat(path)
    except KernelError as error:
        out += f"cat: can't open '{path}': {os.strerror(error.errno)}\nrc=1\n"
    return out + f"{session.cat('/proc/devices').count('b_chrdev')}\n"


def test_the_recorded_session():
    def looks(session: Session) -> str:
        lines = [line for line in session.cat("/proc/devices").splitlines() if "b_chrdev" in line]
        lines = ["MAJOR " + line.split()[1] for line in lines]
        lines.append(" ".join(session.cat("/proc/modules").split()[:5]))
        base = "/sys/module/b_chrdev"
        return "\n".join(lines) + "\n" + session.cat(f"{base}/version") + session.cat(f"{base}/initstate")

    session = Session("chrdev")
    session.follows(insmod("b_chrdev", echo=True))
    session.follows(looks)
    session.follows(b_user_chrdev)
    session.follows(around_the_shell)


def test_there_are_no_other_steps():
    assert len(SESSIONS["chrdev"]) == 4
