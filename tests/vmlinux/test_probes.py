"""kprobes, kretprobes and ftrace on the real kernel, whose own code they are."""

import pytest

from kmod_emu import samples
from kmod_emu.errors import Killed
from kmod_emu.machine.asm import assemble
from kmod_emu.machine.memory import EXEC, READ, WRITE
from tests.user.conftest import BUSYBOX, needs_busybox


def said(kernel, name):
    return [line.removeprefix(f"{name}: ") for line in kernel.dmesg() if line.startswith(f"{name}: ")][2:]


def test_probes_of_a_module(real):
    real.insmod(samples.path("kprobe"))
    real.rmmod("kprobe")
    assert said(real, "kprobe") == [
        'kstrtoint("12")', "one instruction further: 1", "base 10, returns 0", "12 is 12 (err 0)",
        'kstrtoint("17")', "one instruction further: 1", "17 is 15 (err 0)",
        'kstrtoint("what")', "one instruction further: 1", "base 10, returns 4294967274",
        "what is -1 (err -22)", "13 is 13 (err 0)", "found it: 1", "refused: -2 -22",
        "twice 4 is 8", "twice 4 is 200 with a probe (0)", "twice 4 is 8",
    ]  # fmt: skip


def test_a_function_is_replaced_for_everybody(real):
    real.insmod(samples.path("ftrace_hook"))
    real.rmmod("ftrace_hook")
    assert said(real, "ftrace_hook") == [
        "42 is 42 (err 0)", 'param_set_int("42") = 0', "42 is 1042 (err 0)", "42 is 42 (err 0)",
    ]  # fmt: skip


class Counter:
    """A kprobe whose handler counts."""

    def __init__(self, kernel, symbol, offset=0):
        self.kernel = kernel
        size = kernel.profile.struct("kprobe").size
        self.probe = kernel.heap.kmalloc(size + 64)
        kernel.memory.write(self.probe, bytes(size + 64))
        self._counter, name = self.probe + size, self.probe + size + 8
        handler = kernel.module_area.allocate(4096, READ | WRITE | EXEC)
        code = f"mov rax, {self._counter:#x}; inc qword ptr [rax]; xor eax, eax; ret"
        kernel.memory.write(handler, assemble(code, handler))
        kernel.memory.write(name, symbol.encode() + b"\0")
        view = kernel.view("kprobe", self.probe)
        view.symbol_name, view.pre_handler, view.offset = name, handler, offset
        self.result = kernel.call(kernel.symbol("register_kprobe"), self.probe)

    @property
    def hits(self):
        return self.kernel.memory.read_u64(self._counter)

    def remove(self):
        self.kernel.call(self.kernel.symbol("unregister_kprobe"), self.probe)


def parse(kernel, text):
    place = kernel.heap.kmalloc(64)
    kernel.memory.write(place, text.encode() + b"\0")
    result = kernel.call(kernel.symbol("kstrtoint"), place, 10, place + 32)
    return result, kernel.memory.read_u32(place + 32)


def test_a_probe_is_optimised_to_a_jump(real):
    place = real.symbol("kstrtoint")
    before = real.memory.read(place, 16)
    counter = Counter(real, "kstrtoint")
    assert counter.result == 0
    assert real.memory.read_u8(place) == 0xCC
    assert (parse(real, "12"), counter.hits) == ((0, 12), 1)
    real.advance(1)
    assert real.memory.read_u8(place) == 0xE9
    assert (parse(real, "13"), counter.hits) == ((0, 13), 2)
    counter.remove()
    assert (parse(real, "14"), counter.hits) == ((0, 14), 2)
    real.advance(1)
    assert real.memory.read(place, 16) == before


@pytest.mark.parametrize("name", ["ktime_get", "__kmalloc"])
def test_functions_that_python_serves_have_entries_like_others(real, name):
    """__kmalloc and ktime_get are in the frontier: a probe at their entry is called, too."""
    counter = Counter(real, name)
    assert counter.result == 0
    real.insmod(samples.path("timer"))
    real.advance(1)
    assert counter.hits > 0
    counter.remove()


def test_the_kernel_s_own_int3_is_an_oops(real):
    handler = real.module_area.allocate(4096, READ | WRITE | EXEC)
    real.memory.write(handler, b"\xcc\xc3")
    with pytest.raises(Killed):
        real.call(handler)
    assert any(line.startswith("int3: 0000 [#1]") for line in real.dmesg())


@needs_busybox
def test_functions_are_traced_for_programs(real):
    """Every function of the kernel's that has a call at its entry, those that Python serves among them."""
    real.userland.install_busybox(BUSYBOX)
    script = """
        cd /sys/kernel/tracing
        grep -c . available_filter_functions
        echo kmem_cache_alloc > set_ftrace_filter; echo vfs_open >> set_ftrace_filter
        echo function > current_tracer; cat /proc/version > /dev/null; echo 0 > tracing_on
        grep -o "vfs_open <-.*" trace | sort -u; grep -o "kmem_cache_alloc <-getname_flags" trace | sort -u
        echo vfs_open > set_ftrace_filter; echo do_dentry_open >> set_ftrace_filter; echo 1 > tracing_on
        echo function_graph > current_tracer; cat /proc/version > /dev/null; echo 0 > tracing_on
        grep -o " [a-z_]*() {" trace | sort -u; grep -o " [a-z_]*();" trace | sort -u
        echo nop > current_tracer
        echo 'p:my do_sys_openat2 name=+0(%si):ustring' > kprobe_events
        echo 1 > tracing_on; echo 1 > events/kprobes/my/enable; cat /proc/version > /dev/null
        echo 0 > events/kprobes/my/enable; grep -o 'my: .*version.*' trace
    """
    result = real.userland.execute("/bin/busybox", ["sh", "-c", script], time_limit=60)
    count, *lines, probe = result.stdout.decode().splitlines()
    assert int(count) > 30_000
    calls = ["vfs_open <-path_openat", "kmem_cache_alloc <-getname_flags"]
    assert lines == [*calls, " vfs_open() {", " do_dentry_open();"]
    assert probe == 'my: (do_sys_openat2+0x0/0x170) name="/proc/version"'
