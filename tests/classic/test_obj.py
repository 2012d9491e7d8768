"""Object files are not believed: whatever is in them, insmod has a message and the kernel is as before."""

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmod_emu import samples
from kmod_emu.classic import ClassicKernel
from kmod_emu.classic.obj import ObjectFile
from kmod_emu.kmod.errors import ToolError

FAT = samples.classic("fat").read_bytes()
SHOFF = int.from_bytes(FAT[40:48], "little")


@pytest.fixture(scope="module")
def kernel():
    return ClassicKernel()


@settings(max_examples=150)
@given(st.integers(0, len(FAT) - 1), st.binary(min_size=1, max_size=8))
def test_any_bytes_may_be_wrong(at, change):
    blob = FAT[:at] + change + FAT[at + len(change) :]
    with contextlib.suppress(ToolError):
        ObjectFile("x.o", blob)


@settings(max_examples=60)
@given(st.integers(SHOFF, len(FAT) - 1) | st.integers(0, 64), st.integers(0, 255))
def test_a_wrong_header_is_never_a_traceback(kernel, tmp_path_factory, at, value):
    """Through all of insmod, as far as it comes; -n keeps what would crash the kernel out of it."""
    from kmod_emu.classic.insmod import Options, load
    from kmod_emu.classic.program import Program, execute

    file = tmp_path_factory.getbasetemp() / "wrong.o"
    file.write_bytes(FAT[:at] + bytes([value]) + FAT[at + 1 :])
    with kernel.process() as process, contextlib.suppress(ToolError):
        execute(process, load(Program(process), str(file), ["x=1"], Options(noload=True, map=True)))
    assert kernel.modules == []


@given(st.integers(0, len(FAT) - 1))
@settings(max_examples=60)
def test_a_file_may_end_anywhere(length):
    with contextlib.suppress(ToolError):
        ObjectFile("x.o", FAT[:length])
