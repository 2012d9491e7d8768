"""dmesg prints what util-linux's own prints: the real one reads the same text from a file beside ours."""

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kmod_emu import samples
from kmod_emu.kernel.clock import EPOCH_AT_BOOT_NS, NSEC_PER_SEC
from kmod_emu.kernel.logbuffer import Record
from kmod_emu.kmod.kmsg import from_records, parse_syslog, syslog_text
from kmod_emu.kmod.logprint import Printer, Style
from kmod_emu.kmod.timestamp import parse_timestamp

REAL = shutil.which("dmesg", path="/bin:/usr/bin")
needs_dmesg = pytest.mark.skipif(REAL is None, reason="util-linux is not installed")
LOG = (
    b"<6>[    0.000000] Linux version\n"
    b"<4>[    2.000003] hello: loading out-of-tree module\n"
    b"<14>[    2.5] user: an odd stamp\n"
    b"<3>[   75.123456] foo: bar: \x1b[31mred\xc3\xa9\xff\xc2\xa0\xc2\x85\n second line\n"
    b"<30>[   75.123456] systemd[1]: x\n"
    b"<6>\n"
    b"<6>[   80.000000] a.out[1]: segfault at 0 ip 0\n"
    b"<1>[  100.000001] alert\n<2>[  100.1] crit: no\n<5>no stamp\n<x>[  1.0] no level\n"
)
# One command line each; the real one is asked too.
OPTIONS = r"""
-x
-d
-t
-t -d
-dx
-r
--color=always
-L=always -x
-L -l err
-l foo
-f bar
-l ,err
-l err,
-l err,,warn
-l err,foo,warn
-l 3,WARN
-l 8
-f kern,user
-f 12
-n 9
-n 0
-n x
-s x
-s -1
-s ''
-r -T
-r -l err
-C -c
-D -E
-L=foo
--since foo
--since ''
--time-format x
--time-format delta
--time-format notime
extra
-S -w
-y
-p
-r -x -T
-k
-u
-k -u
-l
--lev
--fo
--s
--noescape
-H -r
-r -t
-V
-J -l emerg
--since 2099-01-01
--until 2000-01-01
--since '2099-01-01 10:00'
--since 'Thu 2099-01-01'
--since 'Wed 2099-01-01'
--since '+5min'
--since '5 lightyears ago'
--until '-40.5years'
--until '-1h 3'
--until -
--until 20200101000000
""".strip().splitlines()


def real(path, options: list[str]) -> tuple[bytes, bytes, int]:
    done = subprocess.run(
        ["dmesg", "-F", path, *options], executable=REAL, capture_output=True, env={"LC_ALL": "C.UTF-8"}
    )
    return done.stdout, done.stderr, done.returncode


@needs_dmesg
@pytest.mark.parametrize("options", ["", *OPTIONS])
def test_a_file_as_the_real_dmesg_prints_it(cli, tmp_path, options):
    path = tmp_path / "log"
    path.write_bytes(LOG)
    result = cli("dmesg", "-F", path, *shlex.split(options))
    assert (result.stdout_bytes, result.stderr_bytes, result.exit_code) == real(path, shlex.split(options))


PUNCTUATION = (b" ", b"a: b", b".", b"\xff", b"\0", b":")


@needs_dmesg
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from((b"<6>", b"<30>", b"<x>", b"7", b"\n", b"[", b"]", b"    2.000003", *PUNCTUATION)),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from([["-x"], ["--color=always"], ["-t"], ["-d"], ["-r"]]),
)
def test_odd_files(cli, tmp_path, parts, options):
    path = tmp_path / "odd"
    path.write_bytes(b"".join(parts) + b"\n<6>end\n")
    assert cli("dmesg", "-F", path, *options).stdout_bytes == real(path, options)[0]


@pytest.mark.parametrize(
    ("name", "message"),
    [("none", "cannot open none: No such file or directory"), (".", "cannot mmap: .: No such device")],
)
def test_files_that_cannot_be_read(cli, name, message):
    result = cli("dmesg", "-F", name)
    assert (result.exit_code, result.stderr) == (1, f"dmesg: {message}\n")


def test_an_empty_file(cli, tmp_path):
    (tmp_path / "empty").touch()
    assert cli("dmesg", "-F", "empty").stderr == "dmesg: cannot mmap: empty: Invalid argument\n"


def test_json_as_util_linux_lays_it_out(cli, tmp_path):
    (tmp_path / "log").write_bytes(b'<4>[    2.000003] a "quoted" \\ \x1b\xc3\xa9\n b\n<14>two\n')
    text = cli("dmesg", "-F", "log", "-J").stdout
    assert text == (
        '{\n   "dmesg": [\n      {\n         "pri": 4,\n         "time":     2.000003,\n'
        '         "msg": "a \\"quoted\\" \\\\ \\u001bé\\n b"\n      },{\n'
        '         "pri": 7,\n         "time":     0.000000,\n         "msg": "two"\n      }\n   ]\n}\n'
    )
    decoded = json.loads(cli("dmesg", "-F", "log", "-J", "-x").stdout)["dmesg"]
    assert [(m["fac"], m["pri"]) for m in decoded] == [("kern", "warn"), ("user", "info")]


RECORDS = [
    Record(0, 6, 2_000_001_000, b"one"),
    Record(1, 3, 62_500_002_999, b"two\nlines"),
    Record(2, 6, 62_600_000_000, b""),
]


def shown(**style) -> str:
    printer = Printer(Style(boot=EPOCH_AT_BOOT_NS // NSEC_PER_SEC, **style))
    return "".join(map(printer.record, from_records(RECORDS)))


def test_lines_after_the_first_are_indented_and_with_p_stamped():
    assert shown() == "[    2.000001] one\n[   62.500002] two\n               lines\n\n"
    assert shown(force_prefix=True) == "[    2.000001] one\n[   62.500002] two\n[   62.500002] lines\n\n"
    assert shown(raw=True) == "<6>[    2.000001] one\n<3>[   62.500002] two\n                  lines\n\n"


def test_times_of_day(utc):
    assert shown(time="ctime").splitlines()[0] == "[Tue Nov 14 22:13:22 2023] one"
    assert shown(time="iso").splitlines()[0] == "2023-11-14T22:13:22,000001+00:00 one"
    assert shown(time="ctime+delta").splitlines()[1] == "[Tue Nov 14 22:14:22 2023 <   60.500001>] two"
    assert shown(time="reltime") == "[Nov14 22:13] one\n[Nov14 22:14] two\n              lines\n\n"


def test_syslog_text_is_what_it_parses_to():
    text = syslog_text(RECORDS)
    assert (
        text == b"<6>[    2.000001] one\n<3>[   62.500002] two\n<3>[   62.500002] lines\n<6>[   62.600000] \n"
    )
    assert [m.text for m in parse_syslog(text, levels=True, times=True)] == [b"one", b"two", b"lines", b""]
    assert syslog_text(RECORDS, 80).startswith(b"<3>")


DAY, HOUR = 86400, 3600
NOW = DAY + 11 * HOUR + 600  # 1970-01-02 11:10


@pytest.fixture
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("now", NOW),
        ("today", DAY),
        ("yesterday", 0),
        ("tomorrow", 2 * DAY),
        ("12:00", DAY + 12 * HOUR),
        ("12:00:01", DAY + 12 * HOUR + 1),
        ("1970-01-03 12:00", 2 * DAY + 12 * HOUR),
        ("1970-01-03T12:00:01", 2 * DAY + 12 * HOUR + 1),
        ("70-01-03", 2 * DAY),
        ("19700103000059", 2 * DAY),
        ("-90 sec 1m", NOW - 150),
        ("+2weeks", NOW + 14 * DAY),
        ("1.5h ago", NOW - 5400),
        ("Friday 1970-01-02 12:00", DAY + 12 * HOUR),
    ],
)
def test_points_in_time(utc, text, wanted):
    assert parse_timestamp(text, NOW) == wanted


@pytest.mark.parametrize(
    "text", ["", "-", "+5", "1 fortnight ago", "70-01-03T12:00:00", "19700103", "Monday 1970-01-02", "noon"]
)
def test_what_is_no_point_in_time(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the command adds the message
        parse_timestamp(text, NOW)


def test_on_the_machine(cli):
    cli("insmod", samples.path("hello"))
    assert cli("dmesg", "-T", "-l", "info").stdout.splitlines()[-1].endswith(" 2023] Hello world!")
    assert cli("dmesg", "-x", "-t").stdout.splitlines()[-1] == "kern  :info  : Hello world!"
    assert cli("dmesg", "-S", "-r").stdout == cli("dmesg", "-r").stdout
    assert cli("dmesg", "-u").stdout == cli("dmesg", "--until", "-1day").stdout == ""
    assert "\x1b" not in cli("dmesg", "-H").stdout + cli("dmesg", "--color").stdout
    assert "\x1b[32m" in cli("dmesg", "-L=always").stdout
    assert cli("dmesg", "-c").stdout.endswith("Hello world!\n")
    assert cli("dmesg").stdout == ""


def test_the_console(cli):
    level = "/proc/sys/kernel/printk"
    assert cli("dmesg", "-n", "err").exit_code == 0
    assert cli("cat", level).stdout.split()[0] == "4"
    cli("dmesg", "-D")
    assert cli("cat", level).stdout.split()[0] == "1"
    cli("dmesg", "-E")
    assert cli("cat", level).stdout.split()[0] == "4"


@pytest.mark.parametrize(
    ("option", "what"), [("-r", "read kernel buffer"), ("-C", "clear kernel buffer"), ("-D", "klogctl")]
)
def test_only_root_reads_the_log(cli, option, what):
    result = cli("dmesg", option, "--uid=1000")
    assert (result.exit_code, result.stderr) == (1, f"dmesg: {what} failed: Operation not permitted\n")


def test_following_the_log(cli):
    """Until Ctrl-C, across changes by other processes."""
    cli("boot")
    command = [sys.executable, "-m", "kmod_emu.cli.main", "dmesg", "-w", "-t"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as follower:
        assert follower.stdout is not None
        cli("insmod", samples.path("hello"))
        seen = [follower.stdout.readline() for _ in range(3)]
        assert seen[-1] == "Hello world!\n"
        cli("rmmod", "hello")
        assert follower.stdout.readline() == "Cleaning up module.\n"
        follower.send_signal(signal.SIGINT)
        assert follower.communicate() == ("", "")
        assert follower.returncode == 130
