"""One module of a sweep: loaded with what it needs on a machine that has just booted."""

from __future__ import annotations

import gc
import time
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from kmod_emu.api import Kernel, Snapshot
from kmod_emu.drivers.registration import Registrations
from kmod_emu.errors import KernelError, Killed, SleepsForever
from kmod_emu.kmod.choose import profile_for
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.files import module_name
from kmod_emu.observe.record import Recorder
from kmod_emu.observe.run import Run, unread
from kmod_emu.sweep.added import StubShows, difference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kmod_emu.kernel.events import Event
    from kmod_emu.kernel.limits import Limits
    from kmod_emu.observe.run import Processes
    from kmod_emu.sweep.added import Shown
    from kmod_emu.sweep.tree import Target

LOADED, REFUSED, UNREADABLE = "loaded", "refused", "unreadable"
OOPS, SLEEPS, TIME_LIMIT = "oops", "sleeps for ever", "time limit"
UNIMPLEMENTED, INTERNAL, DIED = "unimplemented", "internal error", "died"


def blank(target: Target) -> dict[str, Any]:
    """The row of a module that was not even tried."""
    lines: dict[str, Any] = {"deps": [], "init_dmesg": [], "rmmod_dmesg": []}
    row = unread(target.path) | {"path": target.path, "release": None, "outcome": None, "reason": None}
    shows: dict[str, Any] = {"added": {}, "left": {}, "parameters": {}, "stand_ins": []}
    return row | {"proc_modules": None, **lines, **shows, "link_s": None, "total_s": None}


STUB = "stub"
_SETTLE = 0.1  # seconds of virtual time
_SOME = 50_000  # objects: a module makes more of them than that, and few in circles


class Setup(NamedTuple):
    """How machines are made.

    Attributes:
        release: The kernel's; None is the one that `evidence` was built for.
        evidence: One of the module files.
        time_limit: Processor seconds that guest code may run without returning.
        base: The base kernel: STUB, or a vmlinuz.
        limits: What else modules may use.
        skip: Initcalls that the base kernel boots without.
        loader: Whose code loads modules, on a distribution's kernel.
        modules: Where request_module() finds modules.
    """

    release: str | None
    evidence: str
    time_limit: float
    base: str = STUB
    limits: Limits | None = None
    skip: tuple[str, ...] = ()
    loader: str = "python"
    modules: str | None = None

    def machine(self) -> Machine:
        """A machine that tries modules; raises as `boot` does."""
        return Machine(self.boot(), self.base, self.marks())

    def marks(self) -> dict[str, Any]:
        """What rows have that were made otherwise than usual."""
        marks: dict[str, Any] = {} if self.loader == "python" else {"loader": self.loader}
        return marks | ({"autoload": True} if self.modules else {})

    def blank(self, target: Target) -> dict[str, Any]:
        """The row of a module that was not even tried."""
        return blank(target)

    def boot(self) -> Kernel:
        """A fresh machine.

        Raises:
            LookupError: There is no profile of that release.
            BadImage, BootFailed, OSError: The vmlinuz is none, or does not boot.
        """
        kernel: Kernel
        if self.base != STUB:
            from kmod_emu.vmlinux.kernel import Loader, VmlinuxKernel

            kernel = VmlinuxKernel(
                self.base, loader=Loader(self.loader), skip=self.skip, modules=self.modules
            )
            if self.limits is not None:
                kernel.usage.limits = self.limits
        else:
            choice = None if self.release else profile_for(self.evidence)
            profile = choice.profile if choice else self.release
            kernel = Kernel(profile, limits=self.limits, modules=self.modules)
        kernel.cpu.watchdog.limit = self.time_limit
        return kernel


class Looks(Protocol):
    """Looks at one machine."""

    @property
    def processes(self) -> Processes:
        """Who loads and removes modules there."""

    def __call__(self) -> Shown:
        """Everything that is there now."""

    def modules(self) -> str:
        """What /proc/modules has."""

    def parameters(self, module: str) -> dict[str, bytes]:
        """What a module's parameters are, of those that can be read."""


class _LinkTime:
    """A listener that notes when a module's init begins."""

    def __init__(self) -> None:
        self._start, self.seconds = time.perf_counter(), 0.0

    def __call__(self, event: Event) -> None:
        """Keep the time of the first."""
        if not self.seconds and event.name in ("do_one_initcall", "module_live"):
            self.seconds = time.perf_counter() - self._start


def logged(kernel: Kernel, since: int) -> list[str]:
    """Lines of the kernel log from a record on, each with its level as `<6>`."""
    records = (record for record in kernel.printk.readable() if record.sequence >= since)
    return [f"<{record.level}>{line}" for record in records for line in record.kmsg().split("\n")]


def _looks(kernel: Kernel) -> Looks:
    """What tells what the machine shows."""
    if kernel.has(Registrations):
        return StubShows(kernel)
    from kmod_emu.sweep.added_real import Shows

    return Shows(kernel)  # type: ignore[arg-type]  # it has no stub base kernel


class _Moment(NamedTuple):
    """The machine when a file that a module needs was loaded.

    Attributes:
        row: What came of that.
        shown: What the machine showed then; empty as long as nobody asked.
    """

    file: str
    snapshot: Snapshot
    row: dict[str, Any]
    shown: Shown
    reports: list[dict[str, Any]]
    stand_ins: set[str]


class Machine:
    """A booted machine on which one module after another is tried.

    Args:
        kernel: The machine.
        base: What its base kernel is called in rows.
        marks: What else all rows have.
    """

    def __init__(self, kernel: Kernel, base: str, marks: Mapping[str, Any] = MappingProxyType({})) -> None:
        self.kernel, self._base, self._marks = kernel, base, marks
        self._shows = _looks(self.kernel)
        kernel.advance(_SETTLE)  # what is left of the boot would else be done for each module
        booted = kernel.snapshot()
        self._booted = _Moment("", booted, {}, self._shows(), [], set())
        self._needs: list[_Moment] = []  # after each of those that the last module needed
        gc.collect()
        gc.freeze()  # the machine stays: it is not to be looked through again and again
        gc.set_threshold(_SOME)

    def sweep(self, target: Target) -> dict[str, Any]:
        """Load a module with what it needs, remove it, and say what happened."""
        kernel, began = self.kernel, time.perf_counter()
        deps, error = self._load_needs(target.needs)
        row = blank(target)
        if isinstance(error, ToolError):
            row |= {"outcome": UNREADABLE, "reason": str(error)}
        elif isinstance(error, (Killed, SleepsForever)):
            row |= {"unimplemented": list(kernel.faults.unimplemented)}
            row |= {"reports": list(kernel.findings.reports)}
            row |= {"outcome": self._outcome(error), "reason": f"{deps[-1]['name']}: {error.explanation}"}
        else:
            row |= self._load(target, self._last.shown)
        row |= {"release": kernel.profile.release, "kernel": self._base, "deps": deps, **self._marks}
        row |= {"stand_ins": sorted(kernel.stand_ins)}
        return row | {"total_s": round(time.perf_counter() - began, 6)}

    @property
    def _last(self) -> _Moment:
        """The moment before the module."""
        return self._needs[-1] if self._needs else self._booted

    def _load_needs(self, needs: list[str]) -> tuple[list[dict[str, Any]], KernelError | ToolError | None]:
        """Load what a module needs, until something dies; a refusal stops nothing, as in the recordings.

        Where the last module needed the same, the machine goes back to the moment when that was loaded.
        """
        common = 0
        while common < min(len(needs), len(self._needs)) and self._needs[common].file == needs[common]:
            common += 1
        del self._needs[common:]
        self._go_back(self._last)
        for file in needs[common:]:
            since = self.kernel.printk.sequence
            try:
                run = Run(self.kernel, file, "", 0, self._shows.processes)
            except ToolError as error:
                return self._rows(), error
            row = {"name": module_name(file), "rc": run.rc, "dmesg": self._log(since)}
            if isinstance(run.error, (Killed, SleepsForever)):
                return [*self._rows(), row], run.error
            self._needs.append(self._moment(file, row))
        if self._needs and not self._last.shown:
            self._last.shown.update(self._shows())
        return self._rows(), None

    def _rows(self) -> list[dict[str, Any]]:
        return [dict(moment.row) for moment in self._needs]

    def _moment(self, file: str, row: dict[str, Any]) -> _Moment:
        kernel = self.kernel
        return _Moment(file, kernel.snapshot(), row, {}, list(kernel.findings.reports), set(kernel.stand_ins))

    def _go_back(self, moment: _Moment) -> None:
        kernel = self.kernel
        kernel.restore(moment.snapshot)
        kernel.faults.unimplemented.clear()
        kernel.findings.reports[:] = moment.reports
        kernel.stand_ins.clear()
        kernel.stand_ins.update(moment.stand_ins)

    def _load(self, target: Target, there: Shown) -> dict[str, Any]:
        kernel, recorder, link = self.kernel, Recorder(), _LinkTime()
        since = kernel.printk.sequence
        try:
            with self._tells(recorder), self._tells(link):
                run = Run(kernel, target.file, "", 0, self._shows.processes)
        except ToolError as error:
            return {"outcome": UNREADABLE, "reason": str(error)}
        run.look()
        row: dict[str, Any] = {"init_dmesg": self._log(since), "proc_modules": self._listed(run)}
        if isinstance(run.error, Killed):  # what is behind locks that it holds cannot be looked at
            row |= {"added": {}, "parameters": {}}
        else:
            added = difference(self._shows(), there, run.name)
            row |= {"added": added, "parameters": self._parameters(run)}
        before = kernel.printk.sequence
        with self._tells(recorder):
            run.remove()
        if run.rmmod_rc == 0:
            row["left"] = difference(self._shows(), there, run.name)
        death = run.error or run.rmmod_error
        row |= run.to_json(recorder) | {"rmmod_dmesg": self._log(before)}
        row["dmesg"] = [line.partition(">")[2] for line in self._log(since)]
        fatal = death if death is run.error or isinstance(death, (Killed, SleepsForever)) else None
        row |= {"outcome": self._outcome(fatal), "reason": death.explanation if death else None}
        return row | {"link_s": round(link.seconds, 6) or None}

    @contextmanager
    def _tells(self, listener: Callable[[Event], None]) -> Iterator[None]:
        """Have a listener hear what happens meanwhile."""
        stop = self.kernel.events.listen(listener)
        try:
            yield
        finally:
            stop()

    def _outcome(self, error: KernelError | None) -> str:
        reports = self.kernel.findings.reports
        if self.kernel.faults.unimplemented:
            return UNIMPLEMENTED
        if isinstance(error, Killed):
            return TIME_LIMIT if reports and reports[-1]["kind"] == "soft lockup" else OOPS
        if isinstance(error, SleepsForever):
            return SLEEPS
        return REFUSED if error is not None else LOADED

    def _listed(self, run: Run) -> str | None:
        """The module's line of /proc/modules without the address."""
        if run.listed is None:
            return None
        for line in self._shows.modules().splitlines():
            words = line.split(" ")
            if words[0] == run.name:
                return " ".join(words[:5] + words[6:])
        return None

    def _parameters(self, run: Run) -> dict[str, str]:
        """The module's parameters that can be read."""
        if run.listed is None:
            return {}
        values = self._shows.parameters(run.name)
        return {name: data.decode("utf-8", "backslashreplace").strip() for name, data in values.items()}

    def _log(self, since: int) -> list[str]:
        return logged(self.kernel, since)
