"""Options are read, and refused, as by glibc's getopt_long, which util-linux's getopt(1) calls."""

import re
import shlex
import shutil
import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.getopt import Command, Getopt

TABLE = {
    "-f, --force": "a flag",
    "-F, --field=FIELD": "takes an argument",
    "-L, --color[=WHEN]": "may take one",
    "-q, --quiet, --silent": "has two long names",
    "--since=TIME": "has no letter",
    "-n, --dry-run, --show": "two that begin alike mean the same",
    "--show-depends": "and this one does not",
    "-0, --null": "a digit",
    "-w": "",
}
COMMAND = Command("tool", "", "", TABLE)
SHORT = "fF:L::qn0w"
LONG = "force,field:,color::,quiet,silent,since:,dry-run,show,show-depends,null"
REAL = shutil.which("getopt")
KEYS = {"quiet": "q", "silent": "q", "dry-run": "n", "show": "n", "force": "f", "field": "F", "color": "L"}


def ours(words: list[str]) -> tuple[list[tuple[str, str]], list[str], str]:
    """Options, operands, and the message that ended it."""
    line, options = Getopt(COMMAND, words), []
    try:
        options += line
    except ToolError as error:
        return [], [], str(error)
    return options, line.operands, ""


def real(words: list[str]) -> tuple[list[tuple[str, str]], list[str], str]:
    command = [REAL, "-n", "tool", "-o", SHORT, "-l", LONG, "--", *words]
    done = subprocess.run(command, capture_output=True, text=True, env={})
    if done.returncode:
        return [], [], done.stderr.splitlines()[0]
    out = shlex.split(done.stdout)
    options = []
    while (word := out.pop(0)) != "--":
        name = word.lstrip("-")
        takes = name in ("F", "L", "field", "color", "since")
        options.append((KEYS.get(name, "0" if name == "null" else name), out.pop(0) if takes else ""))
    return options, out, ""


WORDS = ["x.ko", "-", "--", "-f", "-fF", "-Fa", "-L", "-Lauto", "-x", "-q0", "-w", "a=b"]
WORDS += ["--field", "--field=", "--fi=a=b", "--fo", "--f", "--f=1", "--forc=1", "--color", "--col=never"]
WORDS += [
    "--s",
    "--sho",
    "--show",
    "--show-",
    "--si",
    "--sil",
    "--since",
    "--sinc=now",
    "--quiet=",
    "--no",
    "--=",
    "--0",
]


@pytest.mark.skipif(REAL is None, reason="getopt(1) is not installed")
@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(WORDS), max_size=4))
def test_as_glibc(words):
    assert ours(words) == real(words)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("-x", "tool: invalid option -- 'x'"),
        ("-F", "tool: option requires an argument -- 'F'"),
        ("--fo=1", "tool: option '--force' doesn't allow an argument"),
        ("--fi", "tool: option '--field' requires an argument"),
        ("--x=1", "tool: unrecognized option '--x=1'"),
        ("--f", "tool: option '--f' is ambiguous; possibilities: '--force' '--field'"),
    ],
)
def test_messages(word, message):
    assert ours([word]) == ([], [], message)


def test_what_comes_before_an_error_is_done():
    options = iter(Getopt(COMMAND, ["-f", "--bad"]))
    assert next(options) == ("f", "")


def test_posixly_correct_ends_options_at_the_first_operand(monkeypatch):
    monkeypatch.setenv("POSIXLY_CORRECT", "1")
    assert ours(["-f", "x", "-q"]) == ([("f", "")], ["x", "-q"], "")


def test_help_shows_what_has_help():
    text = COMMAND.usage()
    assert text.startswith("Usage: tool [options]\n")
    assert re.search(r"^  -F, --field=FIELD +takes an argument$", text, re.MULTILINE)
    assert "-w" not in text
