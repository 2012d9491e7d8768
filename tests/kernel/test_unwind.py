"""Call traces of real modules: the callers in order, and how far they can be trusted."""

import re

import pytest

from kmod_emu import Kernel, Killed, samples


@pytest.fixture
def kernel():
    return Kernel()


def traces(lines):
    """The frames of each trace in a log, without offsets."""
    found = []
    for line in lines:
        if line == " <TASK>":
            found.append([])
        elif found and line.startswith(" ") and line != " </TASK>":
            found[-1].append(re.sub(r"\+0x[0-9a-f]+/0x[0-9a-f]+", "", line.strip()))
    return found


def test_dump_stack_names_the_callers_innermost_first(kernel):
    kernel.insmod(samples.path("backtrace"), "depth=2")
    first = traces(kernel.dmesg())[0]
    calls = ["descend.cold [backtrace]", *["descend [backtrace]"] * 2, "backtrace_init [backtrace]"]
    assert first == calls


def test_a_warning_in_a_callback_of_the_base_kernel(kernel):
    kernel.insmod(samples.path("backtrace"), "depth=0")
    reliable = [frame for frame in traces(kernel.dmesg())[1] if not frame.startswith("?")]
    assert reliable[-2:] == ["descend.cold [backtrace]", "backtrace_init [backtrace]"]
    assert any(name.startswith("sort") for name in reliable)  # a function of the base kernel


def test_an_oops_does_not_list_the_function_that_faulted(kernel):
    with pytest.raises(Killed):
        kernel.insmod(samples.path("backtrace"), "depth=1 crash=1")
    assert traces(kernel.dmesg()) == [["descend [backtrace]", "backtrace_init [backtrace]"]]


def test_the_sentence_under_an_oops_names_the_source_line(kernel):
    with pytest.raises(Killed) as caught:
        kernel.insmod(samples.path("backtrace"), "depth=1 crash=1")
    source = samples.DIRECTORY.parents[2] / "samples/backtrace/backtrace.c"
    line = next(
        n for n, text in enumerate(source.read_text().splitlines(), 1) if "(volatile int *)NULL" in text
    )
    assert caught.value.explanation.endswith(f"(samples/backtrace/backtrace.c:{line})")
    assert kernel.findings.reports[-1]["text"] == caught.value.explanation


def test_a_call_through_a_wild_pointer_keeps_its_caller(kernel, guest_code):
    place = guest_code("xor eax, eax; sub rsp, 8; call rax; add rsp, 8; ret")
    with pytest.raises(Killed):
        kernel.call(place)
    frames = [line for line in kernel.dmesg() if line.startswith((" 0x", " ? 0x"))]
    assert frames == [f" {place + 8:#x}"]


@pytest.fixture
def guest_code(kernel):
    from kmod_emu.machine.asm import assemble
    from kmod_emu.machine.memory import EXEC, READ

    def place(source):
        address = kernel.module_area.allocate(4096)
        kernel.memory.write(address, assemble(source, address))
        kernel.memory.protect(address, 4096, READ | EXEC)
        return address

    return place
