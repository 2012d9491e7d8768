"""modinfo prints what kmod's own does, byte for byte."""

import shutil
import subprocess

import pytest

from kmod_emu import samples
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.modinfo import modinfo
from tests.conftest import RECORDINGS

PARAMS = samples.path("params")
RECORDED = """\
count:a signed number (int)
size:an unsigned number (uint)
verbose:yes or no; the bare name means yes (bool)
whom:a text (charp)
values:one to four numbers, separated by commas (array of int)
level:a number from 0 to 10, checked by the module itself
"""


def ours(path, **options) -> str:
    return "".join(modinfo(str(path), **options))


def test_parameters_as_recorded_from_kmod_30():
    assert ours(PARAMS, field="parm") == RECORDED


def test_fields():
    lines = ours(PARAMS).splitlines()
    assert lines[0] == f"filename:       {PARAMS}"
    assert "license:        GPL" in lines
    assert "vermagic:       6.1.0-56-amd64 SMP preempt mod_unload modversions " in lines
    assert ours(PARAMS, field="license") == "GPL\n"
    assert ours(PARAMS, field="nothing") == ""


@pytest.mark.parametrize("name", samples.names())
def test_same_output_as_the_systems_modinfo(name):
    """Where kmod is installed, as it is in CI: all samples, all forms of output."""
    real = shutil.which("modinfo", path="/sbin:/usr/sbin:/bin:/usr/bin")
    if real is None:
        assert ours(samples.path(name)).startswith("filename:       ")
        return
    forms = {"": {}, "-p": {"field": "parm"}, "-0": {"null": True}, "-Fparm": {"field": "parm"}}
    for flag, options in forms.items():
        command = [real, *([flag] if flag else []), str(samples.path(name))]
        wanted = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert ours(samples.path(name), **options) == wanted, flag


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "could not get modinfo from 'x': Invalid argument"),
        (b"\x7fELF\x02", "could not get modinfo from 'x': Invalid argument"),
        (b"\x7fELF\x02\x01", "could not get modinfo from 'x': Exec format error"),
        (b"no module at all", "could not get modinfo from 'x': Exec format error"),
        (b"\x7fELF" + bytes(200), "could not get modinfo from 'x': Invalid argument"),
    ],
)
def test_bad_files(tmp_path, contents, message):
    path = tmp_path / "x.ko"
    path.write_bytes(contents)
    with pytest.raises(ToolError) as error:
        ours(path)
    assert str(error.value) == f"modinfo: ERROR: {message}"


# Contents of .modinfo -> what kmod 30 printed behind the path, and with -p.
ODD = {
    b"averyverylongkeyname=v\0exactlyfifteen1=x\0sixteen_chars_16=y\0noeq\0=novalue\0\0\0a=b": (
        "averyverylongkeyname:     v\nexactlyfifteen1:x\nsixteen_chars_16: y\nnoeq:           \n"
        ":               novalue\na:              b\n",
        "",
    ),
    b"parm=x:desc\0parmtype=x:int\0parmtype=:int\0parm=y:\0parmtype=z:uint\0parm=x:again\0": (
        "parm:           z:uint\nparm:           y:\nparm:           :int\nparm:           x:again (int)\n",
        "z: (uint)\ny:\n: (int)\nx:again (int)\n",
    ),
    b"parmtype=a:int\0parm=b:d\0parmtype=a:uint\0parm=a:e1\0parmtype=b:\0": (
        "parm:           b:d ()\nparm:           a:e1 (uint)\n",
        "b:d ()\na:e1 (uint)\n",
    ),
    b"": ("", ""),
}


def with_modinfo(folder, data: bytes):
    """hello.ko, saying something else about itself."""
    blob = samples.path("hello").read_bytes()
    start = blob.index(b"description=Say")
    size = blob.index(b"modversions \0", start) + 13 - start
    path = folder / "odd.ko"
    path.write_bytes(blob[:start] + data.ljust(size, b"\0") + blob[start + size :])
    return path


@pytest.mark.parametrize("data", ODD)
def test_odd_strings_as_recorded_from_kmod_30(tmp_path, data):
    path = with_modinfo(tmp_path, data)
    whole, parameters = ODD[data]
    assert ours(path) == f"filename:       {path}\n{whole}"
    assert ours(path, field="parm") == ours(path, field="parm") == parameters


def test_a_parameter_without_colon_is_reported(tmp_path):
    messages: list[str] = []
    path = with_modinfo(tmp_path, b"parm=nocolon\0license=G\0")
    assert ours(path, warn=messages.append).endswith("license:        G\n")
    assert messages == ["modinfo: ERROR: Found invalid \"parm=nocolon\": missing ':'"]


@pytest.mark.parametrize(
    "path", sorted((RECORDINGS / "errno-cases").glob("*.ko")), ids=lambda path: path.stem
)
def test_hostile_files_end_in_fields_or_a_message(path):
    """As the system's modinfo has it, where it is installed and does not fail an assertion of its own."""
    lines, message = [], ""
    try:
        lines += modinfo(str(path))
    except ToolError as error:
        message = f"{error}\n"
    assert lines[0] == f"filename:       {path}\n"
    assert message.startswith("modinfo: ERROR: could not get modinfo from") or len(lines) > 1
    real = shutil.which("modinfo", path="/sbin:/usr/sbin:/bin:/usr/bin")
    if real is not None:
        wanted = subprocess.run([real, path], capture_output=True, text=True)
        if wanted.returncode >= 0:
            assert ("".join(lines), message) == (wanted.stdout, wanted.stderr)
