"""A terminal of the host's, and the kernel's own lines, echo and job control behind it."""

import fcntl
import os
import struct
import termios
import threading

import pytest

from tests.user.conftest import BUSYBOX, needs_busybox

pytestmark = needs_busybox
READY = "sh -c 'echo READY | tr A-Z a-z; exec %s'\n"  # what is typed is echoed, and is not what it prints


class Outside:
    """Somebody at a terminal, who waits for some text before the next keys.

    Args:
        keys: (text, keys) in turn.
    """

    def __init__(self, keys):
        self.master, self.slave = os.openpty()
        self.heard = b""
        self._thread = threading.Thread(target=self._type, args=(keys,), daemon=True)
        self._thread.start()

    def _type(self, keys):
        since = 0
        for text, typed in keys:
            while text.encode() not in self.heard[since:]:
                self._hear()
            since = len(self.heard)
            os.write(self.master, typed.encode())
        while self._hear():
            pass

    def _hear(self):
        try:
            data = os.read(self.master, 4096)
        except OSError:
            return False
        self.heard += data
        return bool(data)

    def close(self):
        os.close(self.slave)
        self._thread.join(30)
        os.close(self.master)
        return self.heard.decode()


@pytest.fixture
def at(real):
    """Runs a program with somebody at its terminal: (status, what was on the screen)."""
    real.userland.install_busybox(BUSYBOX)

    def run(*argv, keys=(), **options):
        outside = Outside(keys)
        fcntl.ioctl(outside.master, termios.TIOCSWINSZ, struct.pack("4H", 30, 100, 0, 0))
        before = termios.tcgetattr(outside.slave)
        fds = dict.fromkeys(("stdin", "stdout", "stderr"), outside.slave)
        result = real.userland.execute("/bin/busybox", argv, time_limit=60, **fds | options)
        assert termios.tcgetattr(outside.slave) == before
        return result.status, outside.close(), result

    return run


def test_it_is_a_terminal_of_the_kernels(at):
    status, screen, _ = at("sh", "-c", "tty; stty size; echo 1 > /dev/tty")
    assert (status, screen.split()) == (0, ["/dev/pts/0", "30", "100", "1"])


def test_keys_stop_and_end_programs(at):
    """Control-C, Control-\\, Control-Z, fg and the end of a file."""
    keys = [
        ("# ", READY % "cat"), ("ready", "\x03"),
        ("# ", "echo $?\n"), ("130", READY % "yes > /dev/null"), ("ready", "\x1c"),
        ("# ", "echo $?\n"), ("131", READY % "sleep 1000000"), ("ready", "\x1a"),
        ("# ", "jobs -l | grep -c Stopped; bg; kill %1; wait %1; echo $?\n"),
        ("143", READY % "sort"), ("ready", "b\na\n\x04"), ("a\r\nb\r\n", "exit 7\n"),
    ]  # fmt: skip
    status, screen, _ = at("sh", "-i", keys=keys)
    assert status == 7
    assert "\r\n1\r\n" in screen


def test_an_endless_loop_ends_by_a_key(at):
    status, _, result = at("sh", "-c", "echo on; while :; do :; done", keys=[("on\r\n", "\x03")])
    assert (status, result.timed_out) == (130, False)


def test_only_what_is_a_terminal_outside_is_one_inside(at):
    asks = "[ -t 0 ] && [ ! -t 1 ] && [ -t 2 ] && echo out && echo err >&2"
    status, screen, result = at("sh", "-c", asks, stdout=None)
    assert (status, screen, result.stdout) == (0, "err\r\n", b"out\n")


def test_the_owner_is_who_runs_it(at):
    assert at("sh", "-c", "stat -c %u $(tty); : > $(tty) && echo mine", uid=1000)[:2] == (
        0,
        "1000\r\nmine\r\n",
    )


def test_nothing_of_it_stays(real, at):
    at("sh", "-c", "sleep 1000 & echo done")
    assert not real.user_mode.threads
    with real.process() as process:
        assert process.listdir("/dev/pts") == ["ptmx"]
