"""One run of a module: insmod to rmmod, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from kmod_emu.errors import InternalError, KernelError, Killed, Unimplemented
from kmod_emu.kernel.internal import failed
from kmod_emu.kernel.vsprintf import errname
from kmod_emu.kmod import insmod as tool
from kmod_emu.kmod.files import module_name
from kmod_emu.module.modules import STATE_NAMES, Modules

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from kmod_emu.api import Kernel
    from kmod_emu.module.modules import Module
    from kmod_emu.observe.record import Recorder
    from kmod_emu.user.process import Process

LOADED, REFUSED, OOPSED, UNIMPLEMENTED = 0, 1, Killed.exit_status, Unimplemented.exit_status


class Processes(Protocol):
    """Gives processes of some user and name."""

    def __call__(self, *, uid: int = 0, comm: str) -> AbstractContextManager[Process]:
        """One for a `with` statement."""


class Run:
    """One run: what happened, for the exit status and for --json.

    Args:
        kernel: The machine.
        path: The module's file.
        params: "name=value name=value".
        uid: Who loads it.
        processes: Where those who load and remove it come from; None makes a new one each time.

    Attributes:
        error: Why init_module(2) failed, None if it did not.
        rmmod_error: Why delete_module(2) failed, None if it did not.
        listed: What lsmod showed in between, None if the module was not there.
    """

    def __init__(
        self, kernel: Kernel, path: str, params: str, uid: int, processes: Processes | None = None
    ) -> None:
        self.kernel, self.path = kernel, path
        self._processes = processes or kernel.process
        self.error: KernelError | None = None
        self.rmmod_error: KernelError | None = None
        self.rmmod_rc: int | None = None
        self.listed: dict[str, Any] | None = None
        image = tool.load_file(path).image
        try:
            with self._processes(uid=uid, comm="insmod") as process:
                process.init_module(image, params)
        except KernelError as error:
            self.error = error
        self.module: Module | None = kernel[Modules].loaded_by(process.pid)
        self.name = self._name()

    def _name(self) -> str:
        if self.module is not None and self.module.regions:
            return self.module.name
        return module_name(self.path)

    def look(self) -> None:
        """What lsmod says now."""
        listed = self.kernel[Modules].find(self.name)
        if listed is not None:
            self.listed = {
                "size": listed.size,
                "refcnt": listed.refcnt,
                "used_by": [user.name for user in listed.users],
                "state": STATE_NAMES.get(listed.state, "Unformed"),
            }

    def remove(self) -> None:
        """rmmod, if the module is there."""
        if self.error is not None or self.listed is None:
            return
        try:
            with self._processes(comm="rmmod") as process:
                process.delete_module(self.name)
            self.rmmod_rc = 0
        except KernelError as error:
            self.rmmod_error = error
            if not isinstance(error, Killed):
                self.rmmod_rc = -error.errno

    @property
    def status(self) -> int:
        """Exit status."""
        errors = (self.error, self.rmmod_error)
        if any(isinstance(error, Killed) for error in errors):
            return max(error.exit_status for error in errors if isinstance(error, Killed))
        if failed(self.kernel):
            return InternalError.exit_status
        if self.error is not None:
            return REFUSED
        return UNIMPLEMENTED if self.kernel.faults.unimplemented else LOADED

    @property
    def rc(self) -> int | None:
        """What init_module(2) returned: 0 or a negative errno; None if it never did."""
        if isinstance(self.error, Killed):
            return None
        return -self.error.errno if self.error is not None else 0

    def to_json(self, recorder: Recorder) -> dict[str, Any]:
        """The object that --json prints."""
        return {
            "module": self.name,
            "rc": self.rc,
            "errno": errname(-self.rc) if self.rc else None,
            "init_rc": self.module.init_rc if self.module is not None else None,
            "dmesg": self.kernel.dmesg(),
            "lsmod": self.listed,
            "rmmod_rc": self.rmmod_rc,
            "steps": [{"name": step.name, "detail": step.detail} for step in recorder.steps],
            "unimplemented": list(self.kernel.faults.unimplemented),
            "reports": list(self.kernel.findings.reports),
        }


def unread(path: str) -> dict[str, Any]:
    """The object for a file that insmod could not read: no system call was made."""
    nothing = dict.fromkeys(("rc", "errno", "init_rc", "lsmod", "rmmod_rc"))
    return {
        "module": module_name(path),
        **nothing,
        **{k: [] for k in ("dmesg", "steps", "unimplemented", "reports")},
    }
