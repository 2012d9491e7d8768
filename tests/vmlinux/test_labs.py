"""Labs and tests of modules on a distribution's kernel."""

import json
import shutil

import kmod_emu.vmlinux.kernel  # noqa: F401 - pytester takes back what its runs import
from kmod_emu import samples

LAB = """
module = "params"
kernel = "{kernel}"

[[test]]
name = "takes a number"
insmod = "count=2"
dmesg = ["params: count=2"]
no_dmesg = ["Linux version"]
shell = "cat /sys/module/params/parameters/count; uname -r"
output = "2\\n{release}"

[[test]]
name = "refuses a text"
insmod = "count=many"
expect = "EINVAL"

[[test]]
name = "by pytest"
pytest = "test_it.py"
"""
TEST = """
def test_it(insmod, kernel):
    insmod("params", "count=3")
    assert kernel.boot.finished and kernel.cat("/sys/module/params/parameters/count") == b"3\\n"
"""


def test_a_submission_is_judged_on_it(tmp_path, vmlinuz, booted, cli):
    release = vmlinuz.partition("-")[2]
    (tmp_path / "LAB.toml").write_text(LAB.format(kernel=vmlinuz, release=release))
    (tmp_path / "test_it.py").write_text(TEST)
    (tmp_path / "in").mkdir()
    shutil.copy(samples.path("params"), tmp_path / "in/one.ko")
    result = cli(
        "grade", str(tmp_path / "LAB.toml"), str(tmp_path / "in"), "--gradescope", str(tmp_path / "results")
    )
    tests = json.loads((tmp_path / "results").read_text())["tests"]
    assert [test["score"] for test in tests] == [1, 1, 1], tests
    assert result.exit_code == 0


def test_a_kernel_that_is_none(tmp_path, cli):
    (tmp_path / "LAB.toml").write_text(LAB.format(kernel="/nowhere/vmlinuz", release=""))
    (tmp_path / "in").mkdir()
    shutil.copy(samples.path("params"), tmp_path / "in/one.ko")
    result = cli("grade", str(tmp_path / "LAB.toml"), str(tmp_path / "in"))
    assert result.exit_code == 2
    assert "/nowhere/vmlinuz: No such file or directory" in result.stderr


def test_a_mark_of_the_plugin(pytester, vmlinuz, booted):
    pytester.makepyfile(f"""
        import pytest

        @pytest.mark.base_kernel({vmlinuz!r})
        def test_it(insmod, dmesg):
            insmod("hello")
            assert not any("Linux version" in line for line in dmesg())
            assert any("Hello" in line for line in dmesg())
    """)
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=1)
