"""kmod-emu trace, as a user runs it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

needs_busybox = pytest.mark.skipif(not Path("/bin/busybox").exists(), reason="busybox-static is missing")


def test_trace_of_a_sample(cli):
    result = cli("trace", "hello")
    assert result.exit_code == 0
    assert 'KERN_INFO "Hello world!\\n"' in result.stdout
    assert "hello_exit() {" in result.stdout
    assert result.stderr == ""


def test_files(cli, tmp_path):
    result = cli("trace", "hello", "-o", "t.txt", "--chrome", "t.json", "--lcov", "t.info")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "hello_init() {" in (tmp_path / "t.txt").read_text()
    assert json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert "DA:9,1" in (tmp_path / "t.info").read_text()


@needs_busybox
def test_the_shell_uses_what_the_module_registered(cli):
    script = "mknod /dev/echo c 246 0; echo hi > /dev/echo; cat /dev/echo"
    result = cli("trace", "echo", "-e", "function,export", "--sh", script)
    assert result.exit_code == 0
    assert result.stderr == "hi\n"
    assert "  _copy_from_user(to=buffer, from=0x" in result.stdout


def test_status_is_that_of_run(cli):
    assert cli("trace", "ret_minus1").exit_code == 1
    assert cli("trace", "oops_null").exit_code == 3
    assert cli("trace", "nonsense").exit_code == 1
    assert cli("trace", "hello", "-e", "nonsense").exit_code == 2
    assert cli("trace", "hello", "--release", "1.0").exit_code == 2
    assert cli("trace", "hello", "-o", "/nonexistent/file").exit_code == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has such a device")
@pytest.mark.parametrize("where", ["-o", "--chrome"])
def test_a_full_disk_is_no_mistake_of_the_machines(cli, where):
    """What a listener raised in the middle of a task's work was reported as an internal error."""
    result = cli("trace", "hello", where, "/dev/full")
    assert (result.exit_code, result.stderr) == (1, "kmod-emu: No space left on device\n")


def test_nobody_reads_any_more():
    """As in `kmod-emu trace hello | head -1`."""
    end, beginning = os.pipe()
    os.close(end)
    words = [sys.executable, "-m", "kmod_emu.cli.main", "trace", "hello"]
    result = subprocess.run(words, stdout=beginning, stderr=subprocess.PIPE)
    os.close(beginning)
    assert (result.returncode, result.stderr) == (1, b"")
