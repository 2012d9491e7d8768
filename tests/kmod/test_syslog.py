"""The system log as a person reads it: `Apr 20 16:27:39 laptop kernel: [19486.347191] Hello world!`."""

import re
import signal
import subprocess
import sys

import pytest

from kmod_emu import samples

HELLO = samples.path("hello")
LINE = r"Nov 14 22:13:\d\d kmod-emu kernel: \[    2\.\d{6}\] Hello world!\n"


def test_it_is_the_file(cli):
    assert cli("syslog").stdout == cli("cat", "/var/log/syslog").stdout
    cli("insmod", HELLO)
    cli("rmmod", "-s", "nothing")
    text = cli("syslog").stdout
    assert text == cli("cat", "/var/log/syslog").stdout
    assert re.fullmatch(LINE, text.splitlines(keepends=True)[-2])
    assert text.endswith(" kmod-emu rmmod: ERROR: Module nothing is not currently loaded\n")


def test_clearing_the_kernel_log_leaves_it(cli):
    cli("insmod", HELLO)
    before = cli("syslog").stdout
    cli("dmesg", "-C")
    assert cli("syslog").stdout == before


@pytest.mark.parametrize(("count", "wanted"), [("1", 1), ("0", 0), ("100", 3)])
def test_the_last_lines(cli, count, wanted):
    cli("insmod", HELLO)
    text = cli("syslog").stdout
    last = cli("syslog", "-n", count).stdout
    assert text.endswith(last)
    assert last.count("\n") == wanted


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-n", "x"], "syslog: invalid number of lines: 'x'\n"),
        (["x"], "syslog: extra operand 'x'\n"),
        (["-x"], "syslog: invalid option -- 'x'\n"),
    ],
)
def test_wrong_usage(cli, words, message):
    result = cli("syslog", *words)
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", message)


def test_following(cli):
    cli("boot")
    command = [sys.executable, "-m", "kmod_emu.cli.main", "syslog", "-f"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        cli("insmod", HELLO)
        seen = [follower.stdout.readline() for _ in range(3)]
        assert re.fullmatch(LINE, seen[-1])
        follower.send_signal(signal.SIGINT)
        assert follower.communicate() == ("", "")
        assert follower.returncode == 130
