"""kmod-emu debug: scripts, pipes, and panels on a terminal."""

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time

import pytest
from click.testing import CliRunner

from kmod_emu.cli.main import main

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
SCRIPT = """
# the answers are gdb's
break _printk
continue
finish
info locals
p nosuch
p 6 * 7
continue
"""


def run(*words: str, stdin: str | None = None):
    result = CliRunner().invoke(main, ["debug", *words], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def test_a_script(tmp_path):
    (tmp_path / "commands").write_text(SCRIPT)
    result = run("hello", "--batch", "-x", str(tmp_path / "commands"), "-ex", "p $_")
    text = re.sub(r"0xffffffff80\w{6}", "PRINTK", result.stdout)
    assert text.split("\n")[2:] == [
        "hello_init () at samples/hello/hello.c:8",
        "8\t{",
        "Breakpoint 1 at PRINTK",
        "",
        "Breakpoint 1, PRINTK in _printk ()",
        "Hello world!",
        "hello_init () at samples/hello/hello.c:10",
        "10\t\treturn 0;",
        "No locals.",
        "$1 = 42",
        '[Switching to Thread 101 "rmmod"]',
        "",
        "Breakpoint 1, PRINTK in _printk ()",
        "$2 = void",
        "",
    ]
    assert result.stderr == 'No symbol "nosuch" in current context.\n'
    assert result.exit_code == 1  # something was refused


def test_a_pipe_gets_plain_answers():
    result = run("params", "count=3", stdin="p count\nnext\nnext\nquit\np 5\n")
    assert result.exit_code == 0
    assert result.stdout.split("\n")[4:] == [
        "$1 = 3",
        '65\t\tpr_info("params: count=%d size=%u verbose=%d whom=%s level=%d\\n",',
        "params: count=3 size=16 verbose=0 whom=world level=3",
        "67\t\tfor (i = 0; i < nvalues; i++)",
        "",
    ]
    assert "\x1b" not in result.output


def test_who_wrote_last():
    result = run("globals", "--last-write", "globals_static", "--batch", "-ex", "x/i $pc")
    assert result.exit_code == 0, result.output
    answer = result.stdout.split("\n")
    assert re.fullmatch(
        r"4 bytes at 0xffffffffc000\w{4} <globals_static> were written last by the next instruction:",
        answer[-5],
    )
    assert answer[-3] == "22\t\tglobals_static++;"
    assert "<globals_static>" in answer[-2]
    assert run("globals", "--last-write", "nosuch", "--batch").exit_code == 2


def test_a_module_that_is_refused_and_files_that_are_none(tmp_path):
    (tmp_path / "bad.ko").write_bytes(b"\x7fELF" + bytes(100))
    result = run(str(tmp_path / "bad.ko"), "--batch", "-ex", "bt", "-ex", "p 1")
    assert "exited with code 01]" in result.stdout
    assert result.stdout.endswith("$1 = 1\n")
    assert result.stderr == "No stack.\n"
    assert run("nosuch").exit_code == 1
    assert "no file nosuch" in run("nosuch").stderr
    assert run("hello", "-x", str(tmp_path / "nothing")).exit_code == 2


def test_a_breakpoint_may_wait_for_a_module_and_ctrl_c_ends_a_loop():
    code = "set breakpoint pending on\nbreak spin_init\nbreak nothing_yet\ninfo b\n"
    answer = run("spin", "--batch", "-ex", "help", stdin=None).stdout
    assert "breakpoints -- Making the machine stop at certain points." in answer
    words = [sys.executable, "-m", "kmod_emu.cli.main", "debug", "spin"]
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        child.stdin.write(f"{code}continue\n")
        child.stdin.flush()
        lines = []
        while not any("spin: waiting" in line or "Continuing" in line for line in lines):
            lines.append(child.stdout.readline())
        time.sleep(0.3)
        child.send_signal(2)
        output, _ = child.communicate("bt\np 1 + 1\nquit\n", timeout=60)
    assert any("<PENDING>" in line and "nothing_yet" in line for line in lines)
    assert "Program received signal SIGINT, Interrupt." in output
    assert re.search(r"#\d  (0x\w+ in )?spin_init \(\) at samples/spin/spin.c", output)
    assert "$1 = 2" in output


@pytest.fixture
def terminal(tmp_path):
    """A debugger on a terminal of 110 columns: types a line, waits for a text."""
    child, fd = pty.fork()
    if not child:
        os.environ.update(TERM="xterm-256color", XDG_STATE_HOME=str(tmp_path), PROMPT_TOOLKIT_NO_CPR="1")
        os.environ.pop("NO_COLOR", None)
        os.execv(sys.executable, [sys.executable, "-m", "kmod_emu.cli.main", "debug", "params"])
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 110, 0, 0))

    def until(text: str, typed: str = "") -> str:
        os.write(fd, typed.encode())
        seen, left = b"", 60
        while text not in ESCAPES.sub("", seen.decode("utf-8", "replace")):
            if select.select([fd], [], [], 1)[0]:
                seen += os.read(fd, 65536)
            else:  # silent for a second; how many pieces a text comes in says nothing
                left -= 1
                assert left, seen
        return seen.decode("utf-8", "replace")

    yield until
    os.close(fd)
    os.waitpid(child, 0)


def test_panels_on_a_terminal(terminal):
    plain = ESCAPES.sub("", terminal("(kmod-emu)"))
    for title in ("registers", "code: params_init", "source: samples/params/params.c:62", "stack", "trace"):
        assert f"─ {title}" in plain, title
    drawn = terminal("#0  params_init", "stepi\r")
    assert "\x1b[1;31mrip" in drawn  # it changed
    plain = ESCAPES.sub("", drawn)
    assert " → 0xffffffffc0005005 <params_init+5>" in plain
    assert " →    65" in plain
    plain = ESCAPES.sub("", terminal("#0  0x", "advance *params_init+48\r"))
    assert re.search(r" → 0xffffffffc0005030 <params_init\+48> +call +0x\w+ <_printk>", plain)
    assert re.search(r'\$rdi = 0x\w+ "\\0016params: count=|fmt = 0x\w+ "\\0016params: count=', plain)
    assert "lev" in terminal("level_set", "p lev\t\t")
    terminal("quit", "\x15quit\r")


@pytest.mark.skipif(not os.path.exists("/bin/busybox"), reason="no static busybox")
def test_a_file_operation_is_stopped_in_when_a_program_uses_it():
    line = "mknod /dev/echo c 246 0; echo hi > /dev/echo; cat /dev/echo"
    asked = ["break echo_read", "continue", "p file->f_op->read", "p file->f_path.dentry->d_iname", "finish"]
    asked += ["p $lx_current.comm", "p buffer", "delete 1", "continue"]
    result = run("echo", "--sh", line, "--batch", *(word for text in asked for word in ("-ex", text)))
    assert result.exit_code == 0, result.output
    answers = result.stdout.split("\n")
    stopped = next(line for line in answers if line.startswith("Breakpoint 1, echo_read (file=0x"))
    assert re.search(r"count=65536, pos=0x\w+\) at samples/echo/echo.c:36", stopped)
    at = answers.index(stopped)
    assert answers[at + 1 : at + 5] == [
        "36\t{",
        "$1 = (ssize_t (*)(struct file *, char *, size_t, loff_t *)) 0xffffffffc0000070 <echo_read>",
        "$2 = \"echo\", '\\000' <repeats 27 times>",
        "0xffffffff80800200 in kmod_emu_return ()",
    ]
    assert answers[at + 5 : at + 8] == [
        "Value returned is $3 = 3",
        "$4 = \"cat\", '\\000' <repeats 12 times>",
        "$5 = \"hi\\n\", '\\000' <repeats 252 times>",
    ]
    assert answers[-3:-1] == ["hi", "[Inferior 1 (insmod echo) exited normally]"]
