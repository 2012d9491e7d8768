"""Debugging a module on a distribution's kernel: its functions by name, its types by BTF."""

import re

from kmod_emu import samples
from kmod_emu.debug.debugger import Debugger
from kmod_emu.debug.recording import Recording
from kmod_emu.observe.trace.text import TextSink
from kmod_emu.observe.trace.tracer import DEFAULT, Tracer
from tests.debug.conftest import Talk


def test_stops_in_functions_of_the_kernel_and_goes_back(real):
    talk = Talk(str(samples.path("echo")), kernel=real)
    place = lambda: real.describe(talk.debugger.stop.address)  # noqa: E731
    talk("break cdev_add", "continue")
    assert place().startswith("cdev_add+0x0/")
    backtrace = talk("backtrace")
    assert "in cdev_add ()" in backtrace
    assert "in __register_chrdev ()" in backtrace
    assert "echo_init () at samples/echo/echo.c:68" in backtrace
    assert "const struct file_operations *ops;" in talk("ptype struct cdev")
    assert "<echo_open>" in talk("print ((struct cdev *)$rdi)->ops->open")
    talk("finish")
    assert place().startswith("__register_chrdev+")
    talk("reverse-stepi", "reverse-stepi")  # a function of the kernel returns by __x86_return_thunk
    assert place().startswith("cdev_add+")
    talk("delete", "continue")
    assert talk.debugger.ended
    talk.debugger.close()


def test_backtraces_go_by_the_kernels_own_tables(real):
    """Words that looked like return addresses were taken for callers of _printk(), whose frame is large."""
    talk = Talk(str(samples.path("hello")), kernel=real)
    text = talk("break vprintk_emit", "continue", "backtrace")
    assert re.findall(r"^#.* in (\w+) ", text, re.MULTILINE) == ["vprintk_emit", "_printk", "hello_init"]
    talk.debugger.close()


def test_a_recorded_run_says_on_which_kernel_and_goes_the_same_way(real):
    debugger = Debugger(real)
    debugger.start(samples.path("params"), "count=3")
    debugger.continue_()
    recording, log = Recording.of(debugger), real.dmesg()
    debugger.close()
    assert recording.made["digest"] == real.made()["digest"]
    again = Debugger(real)
    again.replay(recording)
    again.continue_()
    assert real.dmesg() == log
    again.close()


def test_calls_are_traced(real):
    lines = []
    tracer = Tracer(real, [TextSink(lines.append, 1000, str)], DEFAULT)
    real.insmod(samples.path("echo"))
    tracer.finish()
    text = "\n".join(lines)
    assert '__register_chrdev(major=0, baseminor=0, count=256, name="echo"' in text
    assert "echo_init() {" in text


def test_a_trace_that_has_ended_hears_no_more_and_knows_system_calls_of_the_kernels_own(real):
    lines = []
    tracer = Tracer(real, [TextSink(lines.append, 1000, str)], {"syscall"})
    with real.process() as process:
        process.syscall("rseq", 1, 2, 3, 4)
        tracer.finish()
        told = len(lines)
        process.syscall("getpid")
    assert any("rseq(arg1=1, arg2=2" in line for line in lines)
    assert len(lines) == told
