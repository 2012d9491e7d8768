"""Trace events and tracepoints of modules, trace_printk(), tracefs; the sample tracepoint shows more."""

import errno
import os

import pytest

from kmod_emu import Kernel, KernelError, samples

TRACING = "/sys/kernel/tracing"


def write(kernel, path, text, flags=os.O_WRONLY | os.O_TRUNC):
    with kernel.process() as process:
        return process.write(process.open(f"{TRACING}/{path}", flags), text)


def trace(kernel, path="trace"):
    """The lines, without the head."""
    return [line for line in kernel.cat(f"{TRACING}/{path}").decode().splitlines() if line[:1] != "#"]


def text(kernel, words):
    address = kernel.heap.kmalloc(64)
    kernel.memory.write(address, words + b"\0")
    return address


@pytest.fixture
def kernel():
    kernel = Kernel()
    kernel.insmod(samples.path("tracepoint"))
    return kernel


def test_nothing_is_left_behind():
    kernel = Kernel()
    before = kernel.held()
    kernel.insmod(samples.path("tracepoint"))
    write(kernel, "events/lift/enable", b"1")
    kernel.advance(2)
    kernel.rmmod("tracepoint")
    kernel.advance(1)
    assert kernel.held() == before
    assert "lift" not in kernel.cat(f"{TRACING}/available_events").decode()


def test_a_record_is_taken_while_its_event_is_on(kernel):
    write(kernel, "set_event", b"lift:lift_moved\n")
    kernel.advance(1.1)
    write(kernel, "set_event", b"!lift_moved\n", os.O_WRONLY | os.O_APPEND)
    kernel.advance(2)
    assert [line.split(": ", 1)[1] for line in trace(kernel) if "lift_moved" in line] == [
        "lift_moved: lift goes up to 1 (up)"
    ]
    write(kernel, "trace", b"\n")
    assert trace(kernel) == []
    write(kernel, "tracing_on", b"0\n")
    kernel.advance(2)
    assert trace(kernel) == []


def test_overwriting_set_event_forgets_what_was_set(kernel):
    write(kernel, "set_event", b"lift:*\n")
    assert kernel.cat(f"{TRACING}/set_event") == b"lift:lift_moved\n"
    write(kernel, "set_event", b"\n")
    assert kernel.cat(f"{TRACING}/set_event") == b""


def test_a_machine_is_saved_with_its_trace(kernel, tmp_path):
    write(kernel, "events/enable", b"1\n")
    kernel.advance(1.1)
    kernel.save(tmp_path / "machine")
    loaded = Kernel.load(tmp_path / "machine")
    assert trace(loaded) == trace(kernel) != []
    loaded.advance(1)
    kernel.advance(1)
    assert trace(loaded) == trace(kernel)
    assert len(trace(loaded)) == 4


def test_a_snapshot_takes_the_trace_back(kernel):
    write(kernel, "events/enable", b"1\n")
    snapshot = kernel.snapshot()
    kernel.advance(3)
    assert trace(kernel)
    kernel.restore(snapshot)
    assert trace(kernel) == []


def test_marker_and_pipe():
    kernel = Kernel()
    assert write(kernel, "trace_marker", b"hello", os.O_WRONLY) == 5
    with kernel.process(comm="reader") as reader:
        fd = reader.open(f"{TRACING}/trace_pipe", os.O_RDONLY | os.O_NONBLOCK)
        assert b"tracing_mark_write: hello\n" in reader.read(fd, 4096)
        with pytest.raises(KernelError) as nothing:
            reader.read(fd, 4096)
        assert nothing.value.errno == errno.EAGAIN
    assert trace(kernel) == []  # reading the pipe consumes
    write(kernel, "tracing_on", b"0")
    with pytest.raises(KernelError) as off:
        write(kernel, "trace_marker", b"hello", os.O_WRONLY)
    assert off.value.errno == errno.EBADF


def test_an_instance_records_for_itself(kernel):
    name = text(kernel, b"mine")
    array = kernel.call(kernel.symbol("trace_array_get_by_name"), name)
    assert kernel.call(kernel.symbol("trace_array_get_by_name"), name) == array
    enable = kernel.symbol("trace_array_set_clr_event")
    assert kernel.call(enable, array, text(kernel, b"lift"), 0, 1) == 0
    assert kernel.call(enable, array, text(kernel, b"stairs"), 0, 1) & 0xFFFF_FFFF == 2**32 - errno.EINVAL
    kernel.call(kernel.symbol("trace_array_init_printk"), array)
    kernel.call(kernel.symbol("trace_array_printk"), array, 0xFFFF_FFFF_8000_0000, text(kernel, b"n=%d\n"), 7)
    kernel.advance(1.1)
    first, second = trace(kernel, "instances/mine/trace")
    assert first.endswith(": n=7")
    assert second.endswith("lift_moved: lift goes up to 1 (up)")
    assert [line.split(": ")[1] for line in trace(kernel)] == ["lift"]  # its trace_printk()
    destroy, put = kernel.symbol("trace_array_destroy"), kernel.symbol("trace_array_put")
    assert kernel.call(destroy, array) & 0xFFFF_FFFF == 2**32 - errno.EBUSY
    kernel.call(enable, array, 0, 0, 0)
    kernel.call(put, array)
    kernel.call(put, array)
    assert kernel.call(destroy, array) == 0
    assert kernel.cat(f"{TRACING}/events/lift/lift_moved/enable") == b"0\n"


def test_tracing_can_be_switched_off_by_code():
    kernel = Kernel()
    kernel.call(kernel.symbol("tracing_off"))
    assert kernel.cat(f"{TRACING}/tracing_on") == b"0\n"
    assert kernel.call(kernel.symbol("tracing_is_on")) == 0
    assert kernel.call(kernel.symbol("__trace_puts"), 0, text(kernel, b"x"), 1) == 0
    kernel.call(kernel.symbol("tracing_on"))
    assert kernel.call(kernel.symbol("__trace_puts"), 0, text(kernel, b"x"), 1) == 1
    assert trace(kernel)[0].endswith("0x0: x")


@pytest.mark.parametrize(
    ("file", "good", "bad"),
    [
        ("tracing_on", b"1\n", b"2\n"),
        ("tracing_on", b"0", b"x"),
        ("current_tracer", b"nop\n", b"function\n"),
        ("trace_clock", b"local", b"x86-tsc"),
    ],
)
def test_switches_take_what_they_know(kernel, file, good, bad):
    assert write(kernel, file, good) == len(good)
    with pytest.raises(KernelError) as error:
        write(kernel, file, bad)
    assert error.value.errno == errno.EINVAL


def test_nothing_is_marked_while_nothing_is_recorded(kernel):
    write(kernel, "trace_marker", b"one")
    write(kernel, "tracing_on", b"0")
    with pytest.raises(KernelError) as error:
        write(kernel, "trace_marker", b"two")
    assert error.value.errno == errno.EBADF
    assert [line.split(": ", 1)[1] for line in trace(kernel)] == ["tracing_mark_write: one"]


def test_probes_and_who_is_told_of_modules_with_tracepoints(kernel):
    """A notifier hears of the modules that are there, and that they go when it goes."""
    [module] = kernel.modules
    call = lambda name, *arguments: kernel.call(kernel.symbol(name), *arguments)  # noqa: E731
    assert call("trace_array_set_clr_event", 0, 0, 0, 1) & 0xFFFFFFFF == 2**32 - errno.ENOENT
    assert call("trace_set_clr_event", text(kernel, b"nothing"), 0, 1) & 0xFFFFFFFF == 2**32 - errno.EINVAL
    heard = []

    @kernel.export("int hear(struct notifier_block *nb, unsigned long action, void *data)")
    def hear(kernel, nb: int, action: int, data: int) -> int:
        heard.append((action, kernel.memory.read_u64(data + 16)))
        return 0

    block = kernel.heap.kmalloc(24)
    kernel.memory.write(block, kernel.symbol("hear").to_bytes(8, "little") + bytes(16))
    call("register_tracepoint_module_notifier", block)
    call("unregister_tracepoint_module_notifier", block)
    assert heard == [(1, module.address), (2, module.address)]


def test_a_probe_that_is_there_twice_and_one_that_is_not(kernel):
    [module] = kernel.modules
    tp = next(address for address, _, name in module.symbols if name == "__tracepoint_lift_moved")
    probe = next(address for address, _, name in module.symbols if name == "count")
    call = lambda name, *rest: kernel.call(kernel.symbol(name), tp, probe, 5, *rest) & 0xFFFFFFFF  # noqa: E731
    missing, there = 2**32 - errno.ENOENT, 2**32 - errno.EEXIST
    assert call("tracepoint_probe_unregister") == missing
    assert call("tracepoint_probe_register_prio", 3) == 0
    assert call("tracepoint_probe_register_prio_may_exist", 3) == there
    assert call("tracepoint_probe_register") == there
    told = [line.partition(" at ")[2].split()[0] for line in kernel.dmesg() if line.startswith("WARNING")]
    assert told == ["kernel/tracepoint.c:342", "kernel/tracepoint.c:406"], (
        "each once; the sample did the first"
    )
    assert call("tracepoint_probe_unregister") == 0
