"""A module's init, once for each of its calls that may fail, with that call failing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.errors import KernelError, Killed
from kmod_emu.kernel.errname import errname
from kmod_emu.module.modules import Modules

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.api import Kernel

_WARNED_OF = ("warning",)  # the kernel's own words about a failure are no finding


class Case(NamedTuple):
    """One run.

    Attributes:
        nth: Which call failed, from 1; 0 is the run in which none did.
        call: The function.
        place: Its caller, as file:line where that is known.
        returned: What it returned, in words.
        outcome: What init, or exit, made of it.
        reports: What was found.
    """

    nth: int
    call: str
    place: str
    returned: str
    outcome: str
    reports: list[dict[str, Any]]


def explore(kernel: Kernel, image: bytes, name: str, params: str) -> Iterator[Case]:
    """Run a module on a machine that has just booted: as it is, and then once for each call that may fail.

    Each run begins where the first did. What is found in the first is the module's own, and not told again.
    """
    injector = kernel.sanitizer.inject(0)
    booted = kernel.snapshot()
    known: list[object] = []
    nth = 0
    while True:
        kernel.findings.reports.clear()
        injector.arm(nth)
        outcome, place = _run(kernel, image, name, params)
        fault = injector.fault
        if nth and fault is None:
            return
        found = [report for report in kernel.findings.reports if report["kind"] not in _WARNED_OF]
        if fault is None:
            known = [_essence(report) for report in found]
            yield Case(0, "", "", "", outcome, found)
        else:
            reports = [report for report in found if _essence(report) not in known]
            yield Case(nth, fault.call, place, fault.returned, outcome, reports)
        kernel.restore(booted)
        nth += 1


def _essence(report: dict[str, Any]) -> object:
    """What a finding has in common with another of the same bug: numbers differ, and addresses."""
    return report["kind"], report["text"].startswith("init of"), report.get("stacks") or report["text"]


def _run(kernel: Kernel, image: bytes, name: str, params: str) -> tuple[str, str]:
    """One run, from insmod to rmmod: what came of it, and where the call that failed was."""
    injector = kernel.sanitizer.inject(None)
    sites = kernel.sanitizer.ledger.sites
    outcome = "init succeeded"
    with kernel.process(comm="insmod") as process:
        try:
            process.init_module(image, params)
        except Killed as error:
            outcome = f"the machine reports: {error.explanation}"
        except KernelError as error:
            outcome = f"init returned -{errname(error.errno)}"
    module = kernel[Modules].loaded_by(process.pid)
    place = sites.place(injector.fault.site, module) if injector.fault is not None else ""
    if outcome == "init succeeded":
        armed, injector.nth = injector.nth, 0  # exit's calls do not fail
        try:
            kernel.rmmod(module.name if module is not None else name)
            outcome += ", and exit ran"
        except Killed as error:
            outcome += f"; exit: {error.explanation}"
        except KernelError as error:
            outcome += f"; rmmod: {error.strerror}"
        injector.nth = armed
    return outcome, place
