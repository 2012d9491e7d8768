"""Every template builds without a warning, and does what it says on the machine."""

import os

import pytest

from kmod_emu import Kernel, KernelError
from kmod_emu.kbuild.build import build
from kmod_emu.kbuild.headers import find_headers
from kmod_emu.kbuild.templates import KINDS, write


@pytest.fixture(scope="module")
def modules(tmp_path_factory):
    """Kind -> a module that was built of it; all by one make."""
    folder = tmp_path_factory.mktemp("new")
    for kind in KINDS:
        write(folder / f"my-{kind}", f"my-{kind}", kind)
    (folder / "Kbuild").write_text("".join(f"obj-m += my-{kind}/\n" for kind in KINDS))
    headers = find_headers("6.1.0-*-amd64")
    assert headers, "the Makefile leaves this test out where there are no headers"
    built = build(folder, headers, ["-j2", "-s", "KCFLAGS=-Wall -Werror"])
    return {path.stem.removeprefix("my-"): path for path in built}


def loaded(modules, kind, params=""):
    kernel = Kernel()
    before = kernel.held()
    kernel.insmod(modules[kind], params)
    return kernel, before


def removed(kernel, kind, before):
    kernel.rmmod(f"my_{kind}")
    kernel.advance(1)
    after = kernel.held()
    assert {what: after[what] for what in ("heap objects", "module bytes")} == {
        what: before[what] for what in ("heap objects", "module bytes")
    }
    return [line for line in kernel.dmesg() if line.startswith(f"my_{kind}: ")][2:]


def test_hello(modules):
    kernel, before = loaded(modules, "hello")
    assert removed(kernel, "hello", before) == ["my_hello: hello", "my_hello: goodbye"]


def test_params(modules):
    kernel, before = loaded(modules, "params", "count=2 who=all sizes=1,2")
    assert removed(kernel, "params", before) == [
        "my_params: hello, all",
        "my_params: hello, all",
        "my_params: sizes[0] is 1",
        "my_params: sizes[1] is 2",
        "my_params: goodbye, all",
    ]
    with pytest.raises(KernelError, match="Invalid argument"):
        loaded(modules, "params", "count=-1")


def test_chrdev(modules):
    kernel, _ = loaded(modules, "chrdev")
    with kernel.process() as process:
        fd = process.open("/dev/my_chrdev", os.O_RDWR)
        assert process.write(fd, b"hello") == 5
        assert process.pread(fd, 10, 0) == b"hello"
        assert process.ioctl(fd, ord("m") << 8) == 0
        assert process.pread(fd, 10, 0) == b""
        with pytest.raises(KernelError, match="Inappropriate ioctl"):
            process.ioctl(fd, 1)
    kernel.rmmod("my_chrdev")
    with kernel.process() as process, pytest.raises(KernelError, match="No such file"):
        process.open("/dev/my_chrdev")


def test_misc(modules):
    kernel, _ = loaded(modules, "misc")
    reader, writer = kernel.process(), kernel.process()
    fd = reader.open("/dev/my_misc", os.O_RDONLY)
    buffer = reader.put(bytes(8))
    reader.start("read", fd, buffer, 8)  # nothing is there: it waits
    writer.write(writer.open("/dev/my_misc", os.O_WRONLY), b"ping")
    assert reader.wait() == 4
    assert reader.get(buffer, 4) == b"ping"
    with pytest.raises(KernelError, match="temporarily unavailable"):
        reader.read(reader.open("/dev/my_misc", os.O_RDONLY | os.O_NONBLOCK), 1)
    reader.exit()
    writer.exit()
    kernel.rmmod("my_misc")


def test_proc(modules):
    kernel, _ = loaded(modules, "proc")
    with kernel.process() as process:
        fd = process.open("/proc/my_proc", os.O_RDWR)
        for value in (b"7\n", b"0x10\n"):
            process.write(fd, value)
        assert process.pread(fd, 100, 0) == b"7\n16\n"
        with pytest.raises(KernelError, match="Invalid argument"):
            process.write(fd, b"seven")
    kernel.rmmod("my_proc")


def test_timer(modules):
    kernel, before = loaded(modules, "timer", "period_ms=100")
    kernel.advance(0.35)
    assert removed(kernel, "timer", before)[-1] == "my_timer: 3 ticks"


def test_kthread(modules):
    kernel, before = loaded(modules, "kthread")
    kernel.advance(1.5)
    assert removed(kernel, "kthread", before) == [
        "my_kthread: round 1 of my_kthread",
        "my_kthread: round 2 of my_kthread",
        "my_kthread: stopped after 2 rounds",
    ]
