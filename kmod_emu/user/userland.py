"""What runs programs on a machine and gives them files, behind one interface for every base kernel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.fs.vfs import Vfs
from kmod_emu.user import execute

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.user.execute import ExecResult

RO, RW = "ro", "rw"


class Userland:
    """Programs and files of the stub kernel."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel

    def execute(
        self,
        path: str,
        argv: Sequence[str | bytes],
        *,
        env: Mapping[str, str] | None = None,
        stdin: bytes | int = b"",
        stdout: int | None = None,
        stderr: int | None = None,
        uid: int = 0,
        time_limit: float | None = None,
    ) -> ExecResult:
        """Run a file of the machine and wait for it; programs that it leaves behind are ended.

        Raises:
            KernelError: The file cannot be run.
            SleepsForever: Nothing will ever wake it, and there is no limit.
        """
        return execute.execute(
            self._kernel, path, argv, env=env, stdin=stdin, stdout=stdout, stderr=stderr, uid=uid,
            time_limit=time_limit,
        )  # fmt: skip

    def exists(self, path: str) -> bool:
        """Whether the machine has such a file."""
        try:
            self._kernel[Vfs].lookup(path)
        except KernelError:
            return False
        return True

    def put_file(self, path: str, data: bytes, mode: int = 0o755, *, lent: bool = False) -> None:
        """A file of the machine with these contents; `lent` ones are not part of a saved machine."""
        execute.put_file(self._kernel, path, data, mode, lent=lent)

    def install_busybox(self, host_path: str | os.PathLike[str]) -> None:
        """Make a static busybox the machine's shell and tools."""
        execute.install_busybox(self._kernel, host_path)

    def bind(self, host: Path, path: str, mode: str = "") -> None:
        """Show a file or directory of the host; with `RO` it cannot be changed."""
        execute.bind(self._kernel, host, path, read_only=mode == RO)

    def bind_sysroot(self, root: Path) -> None:
        """Show the directories of another system's root."""
        execute.bind_sysroot(self._kernel, root)

    def give_back(self) -> None:
        """Programs have ended: what they changed of files bound with `RW` is the host's now."""
