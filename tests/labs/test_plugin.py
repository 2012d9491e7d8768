"""The pytest plugin, used by tests in a directory of their own."""

import contextlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import kmod_emu.labs.compile  # noqa: F401
from kmod_emu import Kernel, KernelError, samples
from kmod_emu.kbuild.headers import find_headers

HELLO = """
#include <linux/module.h>
static int n = 1;
module_param(n, int, 0444);
static int __init x_init(void) { pr_info("x: n=%d\\n", n); return n; }
static void __exit x_exit(void) { }
module_init(x_init);
module_exit(x_exit);
MODULE_LICENSE("GPL");
"""


@pytest.fixture(scope="module", autouse=True)
def imported():
    """pytester takes back what its runs import, also what registers itself: so import it before."""
    for name in ("params", "warn", "oops_null"):
        with contextlib.suppress(KernelError):
            Kernel().insmod(samples.path(name))


def outcomes(pytester, source, *arguments):
    pytester.makepyfile(source)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", *arguments)


def test_fixtures(pytester):
    result = outcomes(
        pytester,
        """
        import os, pytest
        from kmod_emu import KernelError

        def test_kernel(kernel):
            assert kernel.modules == []

        def test_insmod(insmod, dmesg, kernel):
            assert insmod("params", "count=2").name == "params"
            assert dmesg()[2].startswith("params: count=2")
            kernel.rmmod("params")

        def test_refusal(insmod):
            with pytest.raises(KernelError, match="Invalid"):
                insmod("params", "count=many")

        @pytest.mark.module("echo")
        @pytest.mark.module("params", "count=3")
        def test_marks(kernel, process):
            assert [module.name for module in kernel.modules] == ["params", "echo"]
            assert process.syscall("getuid") == 0

        @pytest.mark.release("5.10")
        def test_release(kernel):
            assert kernel.profile.series == "5.10"

        @pytest.mark.sanitizers("all")
        def test_sanitizers(kernel):
            assert kernel._sanitize.value == "all"
        """,
    )
    result.assert_outcomes(passed=6)


def test_a_failure_shows_the_log_and_what_was_found(pytester):
    result = outcomes(
        pytester,
        """
        import pytest

        @pytest.mark.module("params")
        def test_wrong(kernel):
            assert kernel.modules == []

        def test_crash(insmod):
            insmod("oops_null")

        def test_warned(insmod):
            insmod("warn")
        """,
    )
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        ["*- dmesg -*", "params: count=1*", "*- reports -*", "*the machine reports:*", "FAILED*test_warned*"]
    )


def test_a_finding_that_is_expected(pytester):
    result = outcomes(
        pytester,
        """
        import pytest

        @pytest.mark.reports_expected
        def test_warned(insmod, kernel):
            insmod("warn")
            assert kernel.findings.reports
        """,
    )
    result.assert_outcomes(passed=1)


def test_limits(pytester):
    result = outcomes(
        pytester,
        """
        import pytest
        from kmod_emu import KernelError

        @pytest.mark.limits(memory="16K")
        @pytest.mark.reports_expected
        def test_memory(insmod):
            with pytest.raises(KernelError, match="Cannot allocate memory"):
                insmod("echo")

        @pytest.mark.limits(dmesg=10)
        def test_dmesg(insmod):
            insmod("hello")

        @pytest.mark.limits(instructions="100K", time=None)
        def test_instructions(insmod):
            insmod("spin")
        """,
    )
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines("*prints more than 10 bytes to the log*")
    result.stdout.fnmatch_lines("*code that never returned ran 102400 instructions*")


def test_marks_that_say_nothing_sensible(pytester):
    marks = {
        "release": "takes one argument",
        'release("9.9")': "no profile for kernel '9.9'",
        'sanitizers("some")': "has to be one of default, all, off",
        "module": "takes a file",
        'module("x.c")': "there is no module x.c",
        "limits(5)": "'5' is not one of time, instructions, ",
        'limits(memory="much")': "no size, such as 64M",
    }
    tests = [f"@pytest.mark.{mark}\ndef test_{at}(kernel): pass" for at, mark in enumerate(marks)]
    result = outcomes(pytester, "\n".join(["import pytest", *tests]), "-rE", "--tb=short")
    result.assert_outcomes(errors=len(marks))
    for said in marks.values():
        result.stdout.fnmatch_lines(f"*UsageError: *{said}*")


@pytest.mark.skipif(find_headers("6.1.0-*-amd64") is None, reason="no kernel headers")
def test_a_source_is_built(pytester):
    pytester.makefile(".c", x=HELLO, broken="int x = ;")
    result = outcomes(
        pytester,
        """
        import pytest
        from kmod_emu.labs.compile import CompileError

        @pytest.mark.module("x.c", "n=0")
        def test_built(dmesg):
            assert dmesg()[-1] == "x: n=0"

        def test_broken(insmod):
            with pytest.raises(CompileError, match="broken.c:1: error: expected expression"):
                insmod("broken.c")
        """,
    )
    result.assert_outcomes(passed=2)


def test_where_no_headers_are_a_module_beside_the_source_is_taken(pytester, monkeypatch):
    monkeypatch.setattr("kmod_emu.labs.compile.find_headers", lambda release: None)
    pytester.makefile(".c", hello="", y="")
    (pytester.path / "hello.ko").write_bytes(samples.path("hello").read_bytes())
    result = outcomes(
        pytester,
        """
        def test_ready(insmod):
            insmod("hello.c")

        def test_nothing(insmod):
            insmod("y.c")
        """,
        "-rs",
    )
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines("*y.c cannot be built: there are no kernel headers*")


def test_modules_of_another_directory(pytester, tmp_path):
    (tmp_path / "x.ko").write_bytes(samples.path("hello").read_bytes())
    pytester.makefile(".c", x="")
    source = """
        def test_given(insmod):
            assert insmod("x.c").name == "hello"
    """
    outcomes(pytester, source, f"--kmod-dir={tmp_path}").assert_outcomes(passed=1)


def test_runs_that_do_not_use_it_import_no_machine():
    program = (
        "import sys, kmod_emu.labs.plugin; print([n for n in sys.modules if 'unicorn' in n or 'api' in n])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "kmod_emu.api" not in done.stdout
    assert "unicorn" not in done.stdout


def test_the_documented_session(pytester):
    text = (Path(__file__).parents[2] / "docs/testing.md").read_text()
    text = re.search(r"<!-- pytest -->\n(.*?)<!-- end -->", text, re.DOTALL)[1]
    source, session = (
        re.search(rf"```{kind}\n(.*?)```", text, re.DOTALL)[1] for kind in ("python", "console")
    )
    pytester.makepyfile(test_params=source)
    pytester.makeini("[pytest]\naddopts = -q -p no:cacheprovider")
    result = pytester.runpytest_inprocess("test_params.py")
    result.assert_outcomes(passed=3, failed=1)
    shown = session.splitlines()[1:]
    result.stdout.fnmatch_lines(
        [line if line != "..." else "*" for line in shown if not line.startswith("..F")]
    )
