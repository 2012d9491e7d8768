"""Marks for directories of submissions, by the command."""

import csv
import json
import os
import re
import shutil
import sys
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from kmod_emu import samples
from kmod_emu.cli.main import main
from kmod_emu.kbuild.headers import find_headers
from kmod_emu.labs import outputs

LAB = """
module = "hello"
{top}
[limits]
call = 0.5
{limits}

[[test]]
name = "greets"
points = 2
dmesg = ["Hello world!", "Cleaning up"]
"""
BY_PYTEST = """
[[test]]
name = "by pytest"
pytest = "test_hello.py::test_loads"
"""
TEST = """
def test_loads(insmod):
    assert insmod("hello").init_rc == 0
"""
SOURCE = """
#include <linux/module.h>
static int __init hello_init(void) { pr_info("Hello world!\\n"); return 0; }
static void __exit hello_exit(void) { pr_info("Cleaning up module.\\n"); }
module_init(hello_init);
module_exit(hello_exit);
MODULE_LICENSE("GPL");
"""
# What modpost writes of it into hello.mod.c has the assembler read a file.
INJECTION = """
#include <linux/mod_devicetable.h>
static const struct of_device_id ids[] = {
\t{ .compatible = "x\\");asm(\\".incbin\\\\t\\\\\\"/etc/passwd\\\\\\"\\");//" }, {}
};
MODULE_DEVICE_TABLE(of, ids);
"""


class Course:
    """A lab and what was handed in."""

    def __init__(self, folder):
        self.folder, self.submissions = folder, folder / "in"
        self.submissions.mkdir()
        (folder / "test_hello.py").write_text(TEST)
        self.lab(more=BY_PYTEST)

    def lab(self, top="", limits="", more=""):
        (self.folder / "LAB.toml").write_text(LAB.format(top=top, limits=limits) + more)

    def hand_in(self, name, sample):
        shutil.copy(samples.path(sample), self.submissions / f"{name}.ko")

    def grade(self, *options):
        words = ["grade", str(self.folder / "LAB.toml"), str(self.submissions), *options]
        return CliRunner().invoke(main, words)

    def rows(self):
        kept = self.submissions / ".kmod-emu-grade"
        return {path.stem: json.loads(path.read_bytes()) for path in kept.iterdir()}


@pytest.fixture
def course(tmp_path):
    return Course(tmp_path)


def test_marks(course):
    course.hand_in("anna", "hello")
    course.hand_in("bert", "params")
    course.hand_in("carl", "oops_null")
    (course.submissions / "dora.zip").write_bytes(b"nonsense")
    if find_headers("6.1.*") is None:
        os.unlink(course.submissions / "dora.zip")  # sources cannot be judged here
    done = course.grade("--csv", str(course.folder / "marks.csv"))
    assert done.exit_code == 1
    rows = course.rows()
    assert [rows[f"{name}.ko"]["points"] for name in ("anna", "bert", "carl")] == [3, 1, 0]
    assert "no line of the log matches 'Hello world!'" in done.output
    assert "NULL pointer" in str(rows["carl.ko"]["tests"][0]["problems"])
    table = list(csv.DictReader((course.folder / "marks.csv").read_text().splitlines()))
    assert [(row["submission"], row["greets"], row["by pytest"]) for row in table][:2] == [
        ("anna.ko", "2", "1"),
        ("bert.ko", "0", "1"),
    ]


def test_full_marks(course):
    course.hand_in("anna", "hello")
    done = course.grade("--gradescope", str(course.folder / "results.json"))
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "submission  points",
        "anna.ko        3/3",
        "1 submissions, 1 with full marks",
    ]
    result = json.loads((course.folder / "results.json").read_text())
    assert result["score"] == 3
    assert [(test["name"], test["score"], test["max_score"]) for test in result["tests"]] == [
        ("greets", 2, 2),
        ("by pytest", 1, 1),
    ]


def test_what_did_not_change_is_not_judged_again(course):
    course.lab()
    course.hand_in("anna", "hello")
    course.hand_in("bert", "hello")
    course.grade()
    before = course.rows()
    course.hand_in("bert", "ownname")
    done = course.grade()
    after = course.rows()
    assert "1 were judged before" in done.output
    assert after["anna.ko"] == before["anna.ko"]
    assert after["bert.ko"]["points"] == 0
    (course.submissions / ".kmod-emu-grade/anna.ko.json").write_text('{"cut')
    assert "1 were judged before" in course.grade().output
    assert course.rows()["anna.ko"]["points"] == 2
    (course.submissions / "bert.ko").unlink()
    course.lab(top='title = "another"')
    assert "judged before" not in course.grade().output


def test_a_worker_that_dies_costs_its_submission(course):
    course.hand_in("anna", "hello")
    course.lab(limits='host_memory = "120M"')
    done = course.grade()
    assert done.exit_code == 1
    assert course.rows()["anna.ko"]["points"] == 0
    assert re.search(r"it ended the grader: (status 1: \w+Error|signal)", done.output)
    assert "Traceback" not in done.output
    assert "judged before" not in course.grade().output  # whatever it was may be over


def test_without_dask(course, monkeypatch):
    monkeypatch.setitem(sys.modules, "dask", None)
    course.hand_in("anna", "hello")
    done = course.grade("--dask", "tcp://127.0.0.1:1")
    assert done.exit_code == 2
    assert "pip install 'kmod-emu[dask]'" in done.output


@pytest.mark.skipif(find_headers("6.1.*") is None, reason="no kernel headers")
def test_sources(course):
    """kbuild runs four times, which takes the time."""
    files = {
        "hang": SOURCE.replace("return 0;", "for (;;) cpu_relax(); return 0;"),
        "stolen": SOURCE + '\n#include "/etc/passwd"\n',
        "hidden": SOURCE
        + '\nchar *a = "/*";\nint x =\n#include "/proc/sys/kernel/pid_max"\n; char *b = "*/";',
        "by_modpost": SOURCE + INJECTION,
    }
    for name, text in files.items():
        (course.submissions / f"{name}.c").write_text(text)
    folder = course.submissions / "makefile"
    folder.mkdir()
    (folder / "Makefile").write_text(f"$(shell touch {course.folder}/run)\n")
    (folder / "hello.c").write_text("int x = ;\n")
    done = course.grade("--junit", str(course.folder / "x.xml"))
    rows = course.rows()
    assert "code that never returned ran for 0.5 s" in rows["hang.c"]["tests"][0]["problems"][0]
    for name in ("stolen", "hidden", "by_modpost"):
        assert rows[f"{name}.c"]["reason"] == "it includes a file that is neither its own nor the kernel's"
    assert rows["makefile"]["reason"] == "it does not build"
    assert rows["makefile"]["said"] == ["hello.c:1: error: expected expression before ';' token"]
    assert not (course.folder / "run").exists()
    assert "root:" not in done.output + (course.folder / "x.xml").read_text()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("module = ", "Invalid value"),
        ("module = 3", "module has to be a text"),
        ('module = "../x"', "has to say what is handed in"),
        ('module = "x"', "there is no [[test]]"),
        ('module = "x"\n[[test]]\npoints = 1', "test 1: it has no name"),
        ('module = "x"\n[[test]]\nname = "a"\npoints = -1', "points cannot be negative"),
        ('module = "x"\n[[test]]\nname = "a"\nfoo = 1', "'foo' is unknown; there are name, points"),
        ('module = "x"\n[[test]]\nname = "a"\ndmesg = ["("]', "no regular expression"),
        ('module = "x"\n[[test]]\nname = "a"\n[[test]]\nname = "a"', "two tests have one name"),
        ('module = "x"\n[limits]\nmemory = "much"\n[[test]]\nname = "a"', "no size, such as 64M"),
        ('module = "x"\nrelease = "1.0"\n[[test]]\nname = "a"', "1.0"),
        ('module = "x"\n[[test]]\nname = "a"\npytest = "test_x.py"', "there is no test_x.py"),
    ],
)
def test_a_lab_that_cannot_be_used(course, text, said):
    course.hand_in("anna", "hello")
    (course.folder / "LAB.toml").write_text(text)
    done = course.grade()
    assert done.exit_code == 2
    assert said in done.output


def test_nothing_was_handed_in(course):
    assert course.grade().exit_code == 2


def test_a_place_for_the_marks_that_is_not_there_is_told_first(course):
    course.hand_in("anna", "hello")
    done = course.grade("--junit", f"{course.folder}/nowhere/x.xml")
    assert (done.exit_code, "there is no directory" in done.output) == (2, True)
    assert not (course.submissions / ".kmod-emu-grade").exists()


ROW = {
    "name": "=x\x1b",
    "points": 1,
    "of": 3,
    "seconds": 0.5,
    "reason": "",
    "said": [],
    "tests": [
        {"name": "a # SKIP", "points": 1, "of": 1, "seconds": 0.2, "problems": [], "dmesg": []},
        {
            "name": "b",
            "points": 0,
            "of": 2,
            "seconds": 0.3,
            "problems": ["<bad>\x00"],
            "dmesg": ["Subtest: \x07"],
        },
    ],
}


def test_junit():
    suite = ElementTree.fromstring(outputs.junit([ROW]))[0]
    counts = [suite.get(name) for name in ("tests", "failures", "errors", "skipped")]
    assert (counts, suite.get("time"), suite[1].get("time")) == (["2", "1", "0", "0"], "0.5", "0.3")
    assert suite[1][0].get("message") == "<bad>\\x00"
    assert suite[1][0].text == "<bad>\\x00\ndmesg:\n  Subtest: \\x07"


def test_ktap():
    assert outputs.ktap([ROW]).decode().splitlines() == [
        "KTAP version 1",
        "1..1",
        "  KTAP version 1",
        "  # Subtest: =x\\x1b",
        "  1..2",
        "  ok 1 a _ SKIP",
        "  # <bad>\\x00",
        "  # dmesg:",
        "  #   Subtest: \\x07",
        "  not ok 2 b",
        "not ok 1 =x\\x1b",
    ]


def test_a_spreadsheet_sees_no_formula():
    assert outputs.as_csv([ROW]).decode().splitlines()[1] == "'=x\\x1b,1,3,1,0,b: <bad>\\x00"
