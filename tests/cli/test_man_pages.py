"""Man pages: one a command, and troff has nothing to say against them."""

import re
import shutil
import subprocess

import pytest
from click.testing import CliRunner

from kmod_emu.cli.completion import SHELLS
from kmod_emu.cli.main import COMMANDS, main
from scripts.man_pages import write


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    return {path.stem: path for path in write(tmp_path_factory.mktemp("man1"))}


def test_every_command_has_a_page(pages):
    assert {"kmod-emu", *(f"kmod-emu-{name}" for name in COMMANDS)} <= set(pages)
    assert "kmod-emu-profile-build" in pages


def test_a_page_says_what_the_help_says(pages):
    text = pages["kmod-emu-modinfo"].read_text()
    assert "modinfo \\- Show what modules say about themselves" in text
    assert ".B \\-F, \\-\\-field=FIELD\nprint only this field's values\n" in text


@pytest.mark.skipif(not shutil.which("groff"), reason="groff is not there")
def test_troff_formats_all_of_them_without_a_warning(pages):
    command = ["groff", "-man", "-ww", "-Tutf8", "-rLL=100n", *map(str, pages.values())]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    assert re.sub(".\b", "", result.stdout).count("SYNOPSIS") == len(pages)


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_gets_a_script_that_asks_for_completions(shell):
    result = CliRunner().invoke(main, ["completion", shell])
    assert (result.exit_code, "_KMOD_EMU_COMPLETE" in result.output) == (0, True)


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_of_that_shell(shell):
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not there")
    script = CliRunner().invoke(main, ["completion", shell]).output
    result = subprocess.run([shell, "-n"], input=script, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")
