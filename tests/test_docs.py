"""The site is built without a warning and needs nothing from the network; its list of exports is complete.

Building takes five seconds of processor time, once, since nothing else notices a broken link.
"""

import os
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from kmod_emu import Kernel
from kmod_emu.cli.main import COMMANDS
from kmod_emu.kernel.exports import registered

ROOT = Path(__file__).parent.parent
pytest.importorskip("mkdocs")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*.html")}


def test_pages_load_nothing_from_elsewhere(site):
    for name, text in site.items():
        loaded = re.findall(r"""<(?:link|script|img|iframe)\b[^>]*?\b(?:href|src)=["']?([^"' >]+)""", text)
        assert loaded, name
        assert not [address for address in loaded if re.match(r"(\w+:)?//", address)], name


def test_every_command_is_there(site):
    for command in COMMANDS:
        assert f"Usage: kmod-emu {command}" in site["reference/commands.html"]


def test_every_export_has_a_row_with_prototype_fidelity_and_file(site):
    text = site["reference/exports.html"]
    rows = dict(re.findall(r'<tr id="([^"]+)">(.*?)</tr>', text, re.DOTALL))
    present = {symbol.name for symbol in Kernel().symbols.present()}
    assert present <= rows.keys()
    assert "<code>int misc_register(struct miscdevice *misc)</code>" in rows["misc_register"]
    assert f"<td>{registered()['misc_register'].fidelity.value}</td>" in rows["misc_register"]
    before = text[: text.index('id="misc_register"')]
    assert unescape(re.findall(r"<h2[^>]*>([^<]*)", before)[-1]) == "drivers/char/misc.c"
    assert ">elsewhere<" not in text


def test_public_names_are_documented(site):
    text = re.sub(r"<[^>]+>", "", site["reference/python.html"])
    for name in ("insmod", "rmmod", "snapshot", "init_module", "refcnt", "explanation", "export", "call"):
        assert re.search(rf"\b{name}\b", text), name
