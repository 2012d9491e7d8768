"""Programs to run: Debian's busybox-static where it is installed, and small ones compiled here."""

import shutil
from pathlib import Path

import pytest

from kmod_emu import Kernel
from kmod_emu.user.execute import STDOUT, ExecResult, install_busybox, put_file

BUSYBOX = Path("/bin/busybox")
needs_busybox = pytest.mark.skipif(not BUSYBOX.exists(), reason="Debian's package busybox-static is absent")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is absent")


class Shell:
    """A machine with busybox as its shell."""

    def __init__(self):
        self.kernel = Kernel()
        if BUSYBOX.exists():
            install_busybox(self.kernel, BUSYBOX)

    def put(self, path: str, data: bytes) -> None:
        put_file(self.kernel, path, data)

    def run(self, path: str, *argv: str, **options) -> ExecResult:
        options = {"stderr": STDOUT, "time_limit": 60, **options}
        return self.kernel.userland.execute(path, [path.rsplit("/", 1)[-1], *argv], **options)

    def sh(self, command: str, **options) -> ExecResult:
        return self.run("/bin/busybox", "sh", "-c", command, **{"stderr": STDOUT, **options})


@pytest.fixture
def shell():
    return Shell()
