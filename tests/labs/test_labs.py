"""The labs: their solutions get full marks, wrong ones lose what their first line says, starters build."""

import fcntl
import gc
import os
import re
import shutil
from pathlib import Path

import pytest

from kmod_emu.kbuild.build import build
from kmod_emu.kbuild.headers import find_headers
from kmod_emu.labs.check import BUSYBOX, run_check
from kmod_emu.labs.lab import read_lab

LABS = Path(__file__).parents[2] / "samples/labs"
NAMES = sorted(path.parent.name for path in LABS.glob("*/LAB.toml"))
WRONG = sorted(f"{path.parts[-3]}/{path.stem}" for path in LABS.glob("*/wrong/*.patch"))

pytestmark = [
    pytest.mark.skipif(find_headers("6.1.*") is None, reason="no kernel headers"),
    pytest.mark.skipif(not os.path.exists(BUSYBOX), reason="no busybox"),
]


def patched(text, patch):
    """A text with a unified diff applied whose context fits to the letter."""
    lines, done = text.splitlines(keepends=True), 0
    out = []
    for hunk in re.split(r"^(?=@@ )", patch, flags=re.MULTILINE)[1:]:
        head, *body = hunk.splitlines(keepends=True)
        start, count = re.match(r"@@ -(\d+),(\d+) ", head).groups()
        begin, end = int(start) - 1, int(start) - 1 + int(count)
        assert lines[begin:end] == [line[1:] for line in body if line[0] in " -"]
        out += lines[done:begin] + [line[1:] for line in body if line[0] in " +"]
        done = end
    return "".join(out + lines[done:])


@pytest.fixture(scope="module", autouse=True)
def frozen():
    """Machines are collected between checks; what this process had before need not be looked at each time."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def modules(tmp_path_factory, worker_id):
    """LAB/solution, LAB/starter and LAB/WRONG -> the built module; built once for all xdist workers."""
    base = tmp_path_factory.getbasetemp()
    top = (base if worker_id == "master" else base.parent) / "labs"
    with open(f"{top}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not top.exists():
            built = base / "building"
            built.mkdir()
            build_all(built)
            built.rename(top)
    return {f"{path.parts[-4]}/{path.parts[-3]}": path for path in top.glob("*/*/ready/*.ko")}


def build_all(top):
    """Build all by one make. To it names of modules must differ: each is given its real one afterwards."""
    headers, folders = find_headers("6.1.*"), {}
    for lab in NAMES:
        texts = {kind: (LABS / lab / kind / f"{lab}.c").read_text() for kind in ("solution", "starter")}
        for patch in (LABS / lab / "wrong").glob("*.patch"):
            texts[patch.stem] = patched(texts["solution"], patch.read_text())
        for kind, text in texts.items():
            shutil.copytree(LABS / lab / "solution", top / lab / kind)
            (top / lab / kind / f"{lab}.c").write_text(text)
            name = f"{lab}_{kind}"
            (top / lab / kind / "Kbuild").write_text(f"obj-m := {name}.o\n{name}-objs := {lab}.o\n")
            folders[f"{lab}/{kind}"] = name
    (top / "Kbuild").write_text("".join(f"obj-m += {folder}/\n" for folder in folders))
    build(top, headers, ["-j2", "-s", "KCFLAGS=-g0", "CONFIG_DEBUG_INFO_BTF_MODULES="])
    for folder, name in folders.items():
        lab = folder.partition("/")[0]
        image = (top / folder / f"{name}.ko").read_bytes()
        renamed = image.replace(name.encode() + b"\0", lab.encode().ljust(len(name) + 1, b"\0"))
        (top / folder / "ready").mkdir()
        (top / folder / "ready" / f"{lab}.ko").write_bytes(renamed)


def lost(lab, module):
    """The tests that a module loses, with what is said."""
    lab = read_lab(LABS / lab / "LAB.toml")
    return {
        check.name: problems for check in lab.checks if (problems := run_check(check, lab, module).problems)
    }


@pytest.mark.parametrize("lab", NAMES)
def test_the_solution_has_full_marks(modules, lab):
    assert lost(lab, modules[f"{lab}/solution"]) == {}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_solution_loses_what_it_should(modules, name):
    lab, _, variant = name.partition("/")
    head = (LABS / lab / "wrong" / f"{variant}.patch").read_text()
    expected = set(re.match(r"Loses: (.*)", head)[1].split("; "))
    assert set(lost(lab, modules[name])) == expected


@pytest.mark.parametrize("lab", NAMES)
def test_the_starter_builds_and_is_no_solution(modules, lab):
    lab_ = read_lab(LABS / lab / "LAB.toml")
    assert any(run_check(check, lab_, modules[f"{lab}/starter"]).problems for check in lab_.checks)
