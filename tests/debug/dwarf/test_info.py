"""Debug information of modules, against gdb and readelf, and when it is damaged."""

import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmod_emu import samples
from kmod_emu.debug.c.types import Aggregate, definition
from kmod_emu.debug.dwarf.info import DebugInfo

needs_gdb = pytest.mark.skipif(shutil.which("gdb") is None, reason="gdb is not installed")
ECHO = samples.path("echo").read_bytes()


def gdb(path, *commands: str) -> str:
    words = ["gdb", "-nx", "-q", "-batch", *(word for command in commands for word in ("-ex", command)), path]
    return subprocess.run(words, capture_output=True, text=True, check=False).stdout


@needs_gdb
@pytest.mark.parametrize("sample", ["echo", "devres"])
def test_every_structure_is_what_gdb_prints(sample):
    info = DebugInfo(samples.path(sample).read_bytes(), {})
    kinds = {
        name: info.type_named(name) for name in info.type_names() if name.startswith(("struct", "union"))
    }
    complete = {name: kind for name, kind in kinds.items() if isinstance(kind, Aggregate) and kind.complete}
    assert len(complete) > 100
    asked = [
        command
        for name in complete
        for command in (f"echo >>>{name}\\n", f"ptype {name}", f"p sizeof({name})")
    ]
    for answer in gdb(samples.path(sample), *asked).split(">>>")[1:]:
        name, _, text = answer.partition("\n")
        printed, _, size = text.rstrip().rpartition("\n$")
        assert f"type = {definition(complete[name])}" == printed
        assert size.partition(" = ")[2] == str(complete[name].size)


@needs_gdb
def test_lines_are_those_of_gdb():
    info = DebugInfo(ECHO, {".text": 0xA0, ".init.text": 0x1C7, ".exit.text": 0x209, ".text.unlikely": 0x18E})
    for line in (36, 40, 48, 68, 71):
        shown = gdb(samples.path("echo"), f"info line echo.c:{line}")
        found, addresses = info.lines.places("samples/echo/echo.c", line)
        assert found >= line
        assert f"Line {found} of" in shown
        assert addresses


def test_functions_scopes_and_inlined_copies():
    info = DebugInfo(ECHO, {".text": 0x1000, ".init.text": 0x8000})
    read, init = info.entries("echo_read")[0], info.entries("echo_init")[0]
    assert (info.lines.at(read).line, init) == (36, 0x8000)
    assert [scope.name for scope in info.scopes(read)] == ["echo_read"]
    copy = info.entries("copy_to_user")
    assert len(copy) == 1
    assert [scope.name for scope in info.scopes(copy[0] + 8)][-2:] == ["copy_to_user", "echo_read"]
    assert [name for name, _ in info.scopes(read)[0].variables(parameters=True)] == [
        "file",
        "to",
        "count",
        "pos",
    ]
    assert info.scopes(0x500) == []
    assert info.variable("buffer") is not None
    assert info.enumerators["MODULE_STATE_GOING"][0] == 2
    assert str(info.type_named("loff_t")) == "loff_t"
    assert info.type_named("struct nothing") is None


def test_a_module_without_debug_information_has_none(tmp_path):
    subprocess.run(["strip", "-g", "-o", tmp_path / "echo.ko", samples.path("echo")], check=True)
    info = DebugInfo((tmp_path / "echo.ko").read_bytes(), {})
    assert not info
    assert (info.scopes(0), info.lines.at(0), info.type_named("struct file"), info.entries("x")) == (
        [],
        None,
        None,
        [],
    )


@settings(max_examples=25)
@given(st.data())
def test_a_damaged_file_raises_nothing(data):
    image = bytearray(ECHO)
    for _ in range(data.draw(st.integers(1, 20))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(image)))
    for damaged in (bytes(image), bytes(image[:cut])):
        info = DebugInfo(damaged, {".text": 0x1000})
        for address in (0x1000, 0x1050):
            info.scopes(address)
            info.lines.at(address)
        info.type_named("struct file")
        info.entries("echo_open")
