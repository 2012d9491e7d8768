"""What a module's life may go wrong with, beyond the recorded cases (kernel/module/main.c, init/main.c)."""

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_NONBLOCK, O_RDONLY, O_TRUNC, O_WRONLY
from tests.module.builder import Builder


def warnings(kernel: Kernel) -> list[str]:
    """Text and place of each warning."""
    lines = kernel.dmesg()
    starts = [i for i, line in enumerate(lines) if line.startswith("WARNING:")]
    return [f"{lines[i - 1]} | {lines[i].partition(' at ')[2]}" for i in starts]


def test_init_that_leaves_preemption_off():
    kernel = Kernel()
    before = kernel.percpu.read("__preempt_count", 4)

    @kernel.export("int _printk(const char *fmt)")
    def _printk(kernel, fmt: int) -> int:
        kernel.percpu.write("__preempt_count", before + 1, 4)
        return 0

    kernel.insmod(samples.path("hello"))
    assert warnings(kernel) == [
        "initcall hello_init+0x0/0x1000 [hello] returned with preemption imbalance  | "
        "init/main.c:1284 do_one_initcall+0x1d7/0x220"
    ]
    assert kernel.percpu.read("__preempt_count", 4) == before


def test_a_put_too_many():
    kernel = Kernel()
    module = kernel.insmod(samples.path("hello"))
    put, get = kernel.symbol("module_put"), kernel.symbol("try_module_get")
    assert kernel.call(get, module.address) & 1
    assert module.refcnt == 1
    for _ in range(3):  # the last one is the reference of the list itself
        kernel.call(put, module.address)
    assert warnings(kernel)[0].endswith("kernel/module/main.c:857 module_put+0x8b/0x90")
    assert not kernel.call(get, module.address) & 1, "what is going cannot be got"


def test_in_use_is_refused_and_force_overrides_it_with_a_taint():
    kernel = Kernel()
    module = kernel.insmod(samples.path("hello"))
    kernel.call(kernel.symbol("__module_get"), module.address)
    for flags in (0, O_NONBLOCK):
        with pytest.raises(KernelError) as error:
            kernel.rmmod("hello", flags)
        assert error.value.errno == errno.EWOULDBLOCK
    kernel.rmmod("hello", O_TRUNC)
    assert kernel.modules == []
    assert int(kernel.cat("/proc/sys/kernel/tainted")) >> 3 & 1


def test_init_memory_is_gone_and_no_longer_executable():
    kernel = Kernel()
    seen = []
    kernel.events.listen(
        lambda event: seen.append(event.detail["address"]) if event.name == "do_one_initcall" else None
    )
    kernel.insmod(samples.path("hello"))
    with pytest.raises(KernelError) as death:
        kernel.call(seen[0])
    assert "jumps to" in death.value.explanation


def test_memory_is_freed_after_a_grace_period():
    """A thread that exit only wakes, and does not wait for, may still end in the module's code."""
    kernel = Kernel()
    thread, said = kernel.tasks.create("quick"), []

    async def end_soon():
        await kernel.sched.sleep(1_000_000)
        said.append(list(kernel.modules))
        return await kernel.call_guest(exit_function)

    @kernel.export("int _printk(const char *fmt)")
    def _printk(kernel, fmt: int) -> int:
        said.append("line")
        if len(said) == 2:
            kernel.sched.start(thread, end_soon())
        return 0

    exit_function = kernel.insmod(samples.path("hello")).view.get("exit")
    kernel.rmmod("hello")
    assert said == ["line", "line", [], "line"], (
        "the module is off the list when the thread runs, its code is there"
    )
    assert thread.finished
    assert not kernel.findings.reports


def test_a_module_without_exit_stays_unless_forced():
    kernel = Kernel()
    kernel.insmod(samples.path("noexit"))
    assert kernel.cat("/proc/modules").decode().split()[3] == "[permanent],"
    with pytest.raises(KernelError) as error:
        kernel.rmmod("noexit")
    assert error.value.errno == errno.EBUSY
    kernel.rmmod("noexit", O_TRUNC)
    assert kernel.modules == []
    assert int(kernel.cat("/proc/sys/kernel/tainted")) >> 3 & 1


def test_modules_disabled_is_for_good():
    kernel, path = Kernel(), "/proc/sys/kernel/modules_disabled"
    kernel.insmod(samples.path("hello"))
    with kernel.process(uid=0) as process:
        fd = process.open(path, 1)
        with pytest.raises(KernelError) as error:
            process.write(fd, b"2\n")
        assert error.value.errno == errno.EINVAL
        process.write(fd, b"1\n")
    for change in (lambda: kernel.insmod(samples.path("echo")), lambda: kernel.rmmod("hello")):
        with pytest.raises(KernelError) as error:
            change()
        assert error.value.errno == errno.EPERM


@pytest.mark.parametrize(
    ("image", "flags", "number"), [(b"x", O_WRONLY, errno.EBADF), (b"", O_RDONLY, errno.EINVAL)]
)
def test_a_file_that_cannot_be_read(image, flags, number):
    with Kernel().process(uid=0) as process:
        params = process.put(b"\0")
        assert process.syscall("finit_module", process.memfd(image, flags), params, 0) == -number


def test_names_that_cannot_be_read():
    with Kernel().process(uid=0) as process:
        edge = process.put(b"x" * 4096)
        assert process.syscall("delete_module", edge, 0) == -errno.ENOENT, "longer than a name"
        assert process.syscall("delete_module", edge + 4090, 0) in (-errno.EFAULT, -errno.ENOENT)


@pytest.mark.parametrize("name", ["ndiswrapper", "driverloader", "lve"])
def test_proprietary_by_its_name(name):
    kernel = Kernel()
    module = kernel.insmod(Builder(name=name).prints("hello", "bye").build())
    assert int(kernel.cat("/proc/sys/kernel/tainted")) & 1
    assert bool(module.taints & 1) is (name != "ndiswrapper")
