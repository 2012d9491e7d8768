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
    for name in ("hello", "params", "echo"):
        shutil.copy(samples.path(name), tmp_path)

    def run(script: str, *options: str) -> subprocess.CompletedProcess[str]:
        files = [option for option in options if option == "--files"]
        state = [option for option in options if option not in files]
        assert cli(*state, "install-tools", *files, tmp_path / "bin").exit_code == 0
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


FILES_LAB = """\
set -e
sudo insmod ./echo.ko
cat /proc/modules | cut -d' ' -f1
ls /sys/module | grep '^echo$'
sudo mknod /dev/echo c $(grep echo /proc/devices | cut -d' ' -f1) 0
sudo chmod 666 /dev/echo
echo hi there | sudo tee /dev/echo >/dev/null
cat /dev/echo
stat -c %F /dev/echo
cat /proc/modules | tee /dev/echo | wc -l
sudo rm /dev/echo
! ls /dev/echo 2>/dev/null
tail -n 1 /var/log/syslog | cut -d: -f 4-
echo /proc/nothing >pattern
grep /proc pattern
cat pattern - </dev/null
ls pattern
ls -d /proc/self/fd
"""


@pytest.mark.skipif(not os.path.exists("/bin/busybox"), reason="busybox is not here")
def test_a_lab_script_with_device_files(bash):
    result = bash(FILES_LAB, "--files")
    assert (result.stderr, result.returncode) == ("", 0)
    assert result.stdout.splitlines() == [
        *("echo", "echo", "hi there", "character special file", "1"),
        result.stdout.splitlines()[5],
        *("/proc/nothing", "/proc/nothing", "pattern", "/proc/self/fd"),
    ]
    assert result.stdout.splitlines()[5].endswith("echo: released")
    assert not os.path.exists("/dev/echo")


def test_file_tools_without_busybox(bash, monkeypatch):
    monkeypatch.setattr("kmod_emu.cli.install._BUSYBOX", "/nowhere")
    lab = "insmod ./hello.ko; cat /proc/modules; ls /sys/module/hello; cat </dev/null; type -p tee"
    result = bash(lab, "--files")
    assert result.stdout.splitlines()[0] == "hello 16384 0 - Live 0xffffffffc0000000 (OE)"
    assert "refcnt" in result.stdout.splitlines()
    assert "bin/tee" in result.stdout.splitlines()[-1]


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
