"""A lab script that was written for a real machine runs unchanged."""

import os
import shutil
import subprocess
import sys

import pytest

from kmod_emu import samples

pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")

LAB = """\
set -e
sudo insmod ./params.ko count=2 whom=bob
lsmod | grep -q '^params '
sudo -n rmmod params
sudo /sbin/insmod ./hello.ko
! insmod ./hello.ko
sudo -u root -- /usr/sbin/rmmod hello
modinfo -F license ./hello.ko
sudo -E LC_ALL=C dmesg -t | tail -2
sudo dmesg -C
test -z "$(dmesg)"
"""
OUTPUT = """\
GPL
Hello world!
Cleaning up module.
"""


@pytest.fixture
def bash(cli, tmp_path):
    for name in ("hello", "params"):
        shutil.copy(samples.path(name), tmp_path)

    def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
        assert cli(*options, "install-tools", tmp_path / "bin").exit_code == 0
        environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
        return subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True)

    return run


def test_a_lab_script(bash):
    result = bash(LAB)
    assert (result.stdout, result.returncode) == (OUTPUT, 0)
    assert result.stderr == "insmod: ERROR: could not insert module ./hello.ko: File exists\n"


def test_the_state_file_given_at_installation_stays(bash, cli):
    assert bash("insmod hello.ko", "--state", "lab.kmod").returncode == 0
    assert "hello" in cli("--state", "lab.kmod", "lsmod").stdout
    assert "hello" not in cli("lsmod").stdout


def test_modules_beside_the_script_are_not_imported(bash, tmp_path):
    (tmp_path / "click.py").write_text("raise SystemExit('imported')")
    assert bash("lsmod").stdout.startswith("Module ")


@pytest.mark.parametrize(
    ("command", "status", "out", "err"),
    [
        ("sudo true", 0, "", ""),
        ("sudo -uroot echo x", 0, "x\n", ""),
        ("sudo -nE -u root A=b sh -c 'echo $A'", 0, "b\n", ""),
        ("sudo --user=root --preserve-env echo -n x", 0, "x", ""),
        ("sudo -v", 0, "", ""),
        ("sudo nonesuch", 1, "", "sudo: nonesuch: command not found\n"),
        ("sudo sh -c 'exit 7'", 7, "", ""),
        ("rmmod -x", 1, "", "rmmod: invalid option -- 'x'\n"),
    ],
)
def test_statuses(bash, command, status, out, err):
    result = bash(command)
    assert (result.returncode, result.stdout, result.stderr) == (status, out, err)


def test_a_link_of_a_tools_name(cli, tmp_path):
    """As Debian links insmod and the others to kmod."""
    (tmp_path / "rmmod").symlink_to(os.path.join(os.path.dirname(sys.executable), "kmod-emu"))
    result = subprocess.run(["./rmmod", "hello"], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (1, "rmmod: ERROR: Module hello is not currently loaded\n")
