"""Call frames without debug information, by the ORC tables of every release."""

from pathlib import Path

import pytest

from kmod_emu import Kernel
from kmod_emu.debug.debugger import Debugger
from kmod_emu.debug.frames import frames_of
from kmod_emu.debug.program import Program

MODULES = Path(__file__).parent.parent / "modules"
RELEASES = sorted(path.parent.name for path in MODULES.glob("*/hello.ko"))


@pytest.mark.parametrize("release", RELEASES)
def test_the_caller_is_found(release):
    debugger = Debugger(Kernel(release))
    try:
        debugger.start(MODULES / release / "hello.ko")
        rsp = debugger.registers()["rsp"]
        debugger.break_on_call("_printk" if debugger.kernel.symbols.exports("_printk") else "printk")
        debugger.continue_()
        program = Program(debugger.kernel)
        frames = frames_of(program, debugger.task, debugger.registers())
        assert [frame.name.lstrip("_") for frame in frames] == ["printk", "hello_init"]
        assert frames[1].physical.cfa == rsp + 8
        assert frames[1].registers["rsp"] == frames[0].cfa
    finally:
        debugger.close()


def test_all_releases_are_there():
    assert len(RELEASES) >= 4
