"""modinfo prints what kmod's own does, byte for byte."""

import shutil
import subprocess

import pytest

from kmod_emu import samples
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.modinfo import modinfo

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
    assert ours(PARAMS, parameters=True) == RECORDED


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
    forms = {"": {}, "-p": {"parameters": True}, "-0": {"null": True}, "-Fparm": {"field": "parm"}}
    for flag, options in forms.items():
        command = [real, *([flag] if flag else []), str(samples.path(name))]
        wanted = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert ours(samples.path(name), **options) == wanted, flag


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"", "could not get modinfo from 'x': Invalid argument"),
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
