"""Modules that mean no good: each gets its row with the reason, and the others theirs."""

import pytest
from click.testing import CliRunner

from kmod_emu import samples
from kmod_emu.cli.main import main
from kmod_emu.labs.grade import Results, jobs_of
from kmod_emu.labs.lab import read_lab
from tests.module.builder import Builder

LAB = """
module = "hello"
[limits]
call = 0.5
instructions = 10_000_000
memory = "8M"
dmesg = "8K"
virtual = 600

[[test]]
name = "loads"
"""
BY_PYTEST = """
[[test]]
name = "by pytest"
pytest = "test_hello.py::test_loads"
"""
TEST = """
import os, signal

def test_loads(insmod):
    if insmod("hello").name == "params":  # for whatever a module might do to the process
        os.kill(os.getpid(), signal.SIGSEGV)
"""
GFP_KERNEL = 0xCC0


def module(name, *init):
    """A module whose init is machine code and names of functions to be called, and then again."""
    made = Builder(name=name)
    for part in init:
        if isinstance(part, bytes):
            made.code(".init.text", part)
        elif part.isidentifier():
            made.call(".init.text", part)
        else:
            made.printk(".init.text", part)
    again = -len(made.section(".init.text").data) - 5
    made.code(".init.text", b"\xe9" + again.to_bytes(4, "little", signed=True))
    made.returns(".init.text", 0)
    made.entry("init", ".init.text")
    return made.build()


def number(value):
    """Mov $value,%edi."""
    return b"\xbf" + value.to_bytes(4, "little")


RETURN = b"\x48\x85\xc0\x75\x06" + b"\xb8\xf4\xff\xff\xff\xc3"  # if there was no memory, -ENOMEM
MODULES = {
    "never_returns": module("hang", b"\x90"),
    "prints": module("prints", "and so on, line by line\n"),
    "eats_memory": module(
        "eats", number(1 << 20), b"\xbe" + GFP_KERNEL.to_bytes(4, "little"), "__kmalloc", RETURN
    ),
    "sleeps": module("sleeps", number(10_000), "msleep"),
}
REASONS = {
    "never_returns": "code that never returned ran 10000000 instructions, at",
    "prints": "prints more than 8192 bytes to the log",
    "eats_memory": "asks for 1048576 bytes where",
    "sleeps": "waits longer than the machine's time goes on",
}


class Course:
    """A lab and what was handed in."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "LAB.toml").write_text(LAB)
        (folder / "in").mkdir()

    def hand_in(self, name, image):
        (self.folder / f"in/{name}.ko").write_bytes(image)

    def grade(self, *options):
        return CliRunner().invoke(main, ["grade", f"{self.folder}/LAB.toml", f"{self.folder}/in", *options])

    def problems(self):
        """Submission -> what its tests found."""
        kept, lab = Results(self.folder / "in/.kmod-emu-grade"), read_lab(self.folder / "LAB.toml")
        jobs = jobs_of(lab, self.folder / "in")
        found = {job["name"].removesuffix(".ko"): kept.find(job) for job in jobs}
        return {name: [test["problems"] for test in row["tests"]] for name, row in found.items()}


@pytest.fixture
def course(tmp_path):
    return Course(tmp_path)


def test_each_has_its_reason_and_holds_up_nobody(course):
    for name, image in MODULES.items():
        course.hand_in(name, image)
    course.hand_in("zoe", samples.path("hello").read_bytes())
    done = course.grade("--jobs", "2")
    assert done.exit_code == 1
    found = course.problems()
    for name, reason in REASONS.items():
        assert reason in found[name][0][0]
        assert reason in done.output
    assert found["zoe"] == [[]]


def test_a_process_that_dies_costs_one_row(course):
    (course.folder / "LAB.toml").write_text(LAB + BY_PYTEST)
    (course.folder / "test_hello.py").write_text(TEST)
    course.hand_in("anna", samples.path("params").read_bytes())
    course.hand_in("bert", samples.path("hello").read_bytes())
    assert course.grade().exit_code == 1
    said = "it ended the grader's process in 'by pytest': signal SIGSEGV"
    assert course.problems() == {"anna": [[], [said]], "bert": [[], []]}
