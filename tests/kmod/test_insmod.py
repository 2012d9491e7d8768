"""insmod's words for what it cannot load, as kmod 30 says them."""

import pytest
from click.testing import CliRunner

from kmod_emu import samples
from kmod_emu.cli.main import main
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.insmod import load_file

# Recorded from kmod 30. No test runs the real tool: its system call is the host's.
RECORDED = {
    "missing.ko": "could not load module missing.ko: No such file or directory",
    "empty.ko": "could not insert module empty.ko: Invalid parameters",
    "three.ko": "could not insert module three.ko: Invalid parameters",
    "folder.ko": "could not insert module folder.ko: Is a directory",
    "empty.ko/x": "could not load module empty.ko/x: Not a directory",
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.ko").write_bytes(b"")
    (tmp_path / "three.ko").write_bytes(b"\x7fEL")
    (tmp_path / "folder.ko").mkdir()
    return tmp_path


@pytest.mark.parametrize("name", RECORDED)
def test_what_cannot_be_read(name):
    with pytest.raises(ToolError) as error:
        load_file(name)
    assert str(error.value) == f"insmod: ERROR: {RECORDED[name]}"
    assert error.value.status == 1


def test_sizes_beyond_an_int_are_not_read(folder):
    with open(folder / "huge.ko", "wb") as huge:
        huge.truncate(1 << 31)  # no block of it is on the disk
    with pytest.raises(ToolError, match=r"could not insert module huge\.ko: File too large"):
        load_file("huge.ko")


def test_a_load_that_waits_for_ever_says_for_what(folder):
    """The real insmod would hang until Ctrl-C."""

    def call(*words) -> tuple[int, str, str]:
        result = CliRunner().invoke(main, ["--state", str(folder / "m"), *map(str, words)])
        return result.exit_code, result.stdout, result.stderr

    assert call("insmod", samples.path("oops_null"))[0] == 3
    before = call("lsmod"), call("cat", "/proc/modules")
    status, _, said = call("insmod", "--explain", samples.path("oops_null"))
    assert status == 1
    assert said.startswith("kmod-emu: insmod waits for ever: an oops killed who loaded oops_null, so that")
    assert said.count("\n") == 1
    assert before == (call("lsmod"), call("cat", "/proc/modules"))
    assert call("insmod", samples.path("hello"))[0] == 0
