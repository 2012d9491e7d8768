"""The prompt: from a pipe, and on a terminal with history and completion."""

import os
import pty
import re
import select
import subprocess
import sys
from pathlib import Path

import pytest

from kmod_emu import samples
from kmod_emu.cli.shell import completions

ESCAPES = re.compile(rb"\x1b\[[0-9;?]*[a-zA-Z]")
HELLO = samples.path("hello")


def words(text: str) -> list[str]:
    return [completion.text for completion in completions(None, text)]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("insm", ["insmod "]),
        ("sudo insm", ["insmod "]),
        ("ex", ["exec ", "exit "]),
        ("nonesuch x", []),
        ("rmmod --fo", ["--force"]),
        ("rmmod he", ["hello"]),
        ("cat /proc/mod", ["/proc/modules"]),
        ("ls /sys/module/hel", ["/sys/module/hello/"]),
        ("insmod ./on", ["ly.ko"]),
        ("modinfo hell", ["hello"]),
        ("echo 'open quote", []),
    ],
)
def test_completion(cli, tmp_path, text, wanted):
    cli("insmod", HELLO)
    (tmp_path / "only.ko").touch()
    assert words(text) == wanted


def test_commands_from_a_pipe(cli):
    text = f"sudo insmod {HELLO}  # a comment\nlsmod\nnonesuch\n'\nrmmod hello\ncat /nothing\n"
    result = cli("shell", text=text)
    assert result.stdout.splitlines()[1:] == ["hello                  16384  0"]
    assert "nonesuch: command not found" in result.stderr
    assert result.stderr.endswith(
        "kmod-emu: No closing quotation\ncat: /nothing: No such file or directory\n"
    )
    assert result.exit_code == 1


def test_on_a_terminal(cli, tmp_path, monkeypatch):
    """Tab completes, the arrow brings the line before back, and lines are kept for the next session."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("TERM", "xterm")
    ours, its = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "kmod_emu.cli.main", "shell"], stdin=its, stdout=its, stderr=its
    ) as process:
        os.close(its)
        for typed, wanted in (
            (b"", b"kmod-emu#"),
            (b"lsm\t", b"lsmod"),
            (b"\r", b"Used by"),
            (b"", b"kmod-emu#"),
            (b"\x1b[A", b"lsmod"),
            (b"\r", b"Used by"),
            (b"exit\r", b"exit"),
        ):
            os.write(ours, typed)
            shown = b""
            while wanted not in ESCAPES.sub(b"", shown):
                assert select.select([ours], [], [], 60)[0], shown
                shown += os.read(ours, 4096)
        assert process.wait() == 0
    os.close(ours)
    history = Path(tmp_path, "state/kmod-emu/history").read_text()
    assert [line for line in history.splitlines() if line.startswith("+")] == ["+lsmod ", "+exit"]
