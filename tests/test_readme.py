"""Sessions in the README and docs/, and the README's Python examples, show what really happens."""

import doctest
import os
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from kmod_emu import samples
from kmod_emu.cli.main import main

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
# What moves when the base kernel gets another export, or another object on its heap.
MOVES = re.compile("0x(ffffffff80|ffff888000)[0-9a-f]{6}")


def sessions(path: Path) -> list[str]:
    """The console blocks between session marks."""
    return re.findall(r"<!-- session -->\n```console\n(.*?)```\n<!-- end -->", path.read_text(), re.DOTALL)


PAGES = {str(path.relative_to(ROOT)): path for path in (README, *sorted((ROOT / "docs").rglob("*.md")))}
SESSIONS = {name: path for name, path in PAGES.items() if sessions(path)}
EXAMPLES = [name for name, path in PAGES.items() if "\n>>> " in path.read_text()]


def commands(session: str) -> list[tuple[str, str]]:
    """(command, output) pairs of a session."""
    pairs: list[tuple[str, str]] = []
    for line in session.splitlines(keepends=True):
        if line.startswith("$ kmod-emu"):
            pairs.append((line[2:].strip(), ""))
        else:
            command, output = pairs[-1]
            pairs[-1] = command, output + line
    return pairs


@pytest.mark.parametrize("name", SESSIONS)
def test_session_is_what_the_commands_print(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("KMOD_EMU_STATE", str(tmp_path / "machine.kmod"))
    for sample in samples.names():
        os.symlink(samples.path(sample), tmp_path / f"{sample}.ko")
    shown, printed = [], []
    for command, output in (pair for session in sessions(SESSIONS[name]) for pair in commands(session)):
        words = shlex.split(command)
        assert words[0] == "kmod-emu", command
        result = CliRunner().invoke(main, words[1:])
        shown.append((command, MOVES.sub("0x...", output)))
        printed.append((command, MOVES.sub("0x...", result.output)))
    assert printed == shown


def test_the_readme_has_a_session():
    assert "README.md" in SESSIONS


@pytest.mark.parametrize("name", EXAMPLES)
def test_python_examples(name):
    results = doctest.testfile(str(PAGES[name]), module_relative=False)
    assert results.attempted > 1
    assert results.failed == 0


@pytest.mark.parametrize("word", ["make run", "make test"])
def test_the_two_first_words_come_first(word):
    head = README.read_text().split("## ")[0]
    assert word in head
