"""Running one of Debian's kmod tools and ours on the same arguments, one after the other."""

import contextlib
import io
import os
import shutil
import subprocess
import tempfile
from typing import NamedTuple

import pytest

from kmod_emu.cli.command import run

KMOD = shutil.which("modprobe", path=f"/usr/sbin:/sbin:{os.environ['PATH']}")
# The version matters: other releases have other messages.
VERSION = subprocess.run([KMOD, "-V"], capture_output=True, text=True).stdout.split("\n")[0] if KMOD else ""
real_kmod = pytest.mark.skipif(VERSION != "kmod version 30", reason="Debian 12's kmod 30 is not here")
# There are inputs with which the real depmod would take all memory, or fill all disks with one message.
_LIMITS = ("--as=268435456", "--fsize=8388608", "--cpu=20")
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}


class Result(NamedTuple):
    """What a tool did."""

    status: int
    out: str
    err: str


def real(tool, *args):
    """What Debian's tool does. Only for what cannot touch this computer's kernel."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        done = subprocess.run(["prlimit", *_LIMITS, tool, *args], stdout=out, stderr=err, env=_ENVIRONMENT)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode("utf-8", "surrogateescape"))
    return Result(done.returncode, *texts)


def ours(tool, *args, state=None):
    """What our tool does."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = run(tool, list(args), state and str(state), "kmod_emu.kmod")
        except SystemExit as end:
            status = end.code
    return Result(status, out.getvalue(), err.getvalue())
