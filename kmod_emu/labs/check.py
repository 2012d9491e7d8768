"""One test of a lab, on a machine of its own."""

from __future__ import annotations

import gc
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.errors import KernelError, Killed
from kmod_emu.kernel.limits import KIND
from kmod_emu.kernel.vsprintf import errname
from kmod_emu.kmod.choose import profile_for
from kmod_emu.labs.machine import machine
from kmod_emu.module.modules import Modules

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from kmod_emu.api import Kernel
    from kmod_emu.labs.lab import Check, Lab

BUSYBOX = "/bin/busybox"
_LOG_LINES = 20
_KILLED = f"{Killed.__module__}.{Killed.__name__}: "  # the report says why
_HINT = re.compile(r" \(--limits \w+=\.\.\. gives more\)")  # LAB.toml says them, nobody else
_SHELL_SECONDS = 5.0  # of processor time that a script gets at least


class Verdict(NamedTuple):
    """What a test found.

    Attributes:
        problems: Sentences; none means full points.
        dmesg: The last lines of the log.
    """

    problems: list[str]
    dmesg: list[str]


def run_check(check: Check, lab: Lab, module: Path) -> Verdict:
    """Do a test; whatever the module does, a verdict comes of it.

    A machine takes 1.6 GB of addresses and lies in circles of references: those before it have to be gone.
    """
    gc.collect()
    if check.pytest:
        return _pytest(check, lab, module)
    kernel = boot(lab, module)
    problems = [*_insmod(check, lab, kernel, module), *_log(check, kernel)]
    for report in kernel.findings.reports:
        if report["kind"] == KIND:  # then nothing else is to be expected
            problems.insert(0, report["text"])
        elif not check.reports and report["text"] not in problems:
            problems.append(report["text"])
    problems = [_HINT.sub("", problem) for problem in problems]
    return Verdict(problems, kernel.dmesg()[-_LOG_LINES:])


def boot(lab: Lab, module: Path) -> Kernel:
    """A machine for a module, with the lab's limits."""
    choice = profile_for(str(module))
    release = choice.profile if choice else lab.release
    return machine(release, lab.kernel, sanitize=lab.sanitize, limits=lab.bounds.machine)


def _insmod(check: Check, lab: Lab, kernel: Kernel, module: Path) -> Iterator[str]:
    answer, why = "0", ""
    try:
        loaded = kernel.insmod(module, check.insmod)
    except Killed as death:
        yield f"insmod: {death.explanation}"
        return
    except KernelError as error:
        answer, why = errname(error.errno) or str(error.errno), error.explanation
    if answer != check.expect:
        yield f"insmod: {_said(answer)}, {_said(check.expect)} was expected" + (f" ({why})" if why else "")
    if answer != "0":
        return
    name = loaded.name
    if check.seconds:
        kernel.advance(check.seconds)
    if check.shell:
        yield from _shell(check, lab, kernel)
    if check.rmmod and kernel[Modules].find(name) is not None:
        try:
            kernel.rmmod(name)
        except KernelError as error:
            yield f"rmmod: {error.strerror}: {error.explanation}"


def _said(answer: str) -> str:
    return "success" if answer == "0" else answer


def _shell(check: Check, lab: Lab, kernel: Kernel) -> Iterator[str]:
    limit = max(lab.bounds.call * 2, _SHELL_SECONDS)
    try:
        done = kernel.exec("/bin/sh", ["-c", check.shell], busybox=BUSYBOX, time_limit=limit)
    except KernelError as error:
        yield f"the script: {error.explanation or error.strerror}"
        return
    output, said = (
        text[: lab.bounds.output].decode("utf-8", "replace").rstrip() for text in (done.stdout, done.stderr)
    )
    if done.timed_out:
        yield "the script does not come to an end"
        return
    if done.status != check.status:
        yield f"the script ends with status {done.status}, not {check.status}" + (f": {said}" if said else "")
    if check.output is not None and output != check.output.rstrip():
        yield f"the script prints {output!r}, not {check.output.rstrip()!r}" + (f": {said}" if said else "")


def _log(check: Check, kernel: Kernel) -> Iterator[str]:
    lines = iter(kernel.dmesg())
    for pattern in check.dmesg:
        if not any(re.search(pattern, line) for line in lines):
            yield f"no line of the log matches {pattern!r}" + (" there" if pattern != check.dmesg[0] else "")
            break
    for pattern in check.no_dmesg:
        found = next((line for line in kernel.dmesg() if re.search(pattern, line)), None)
        if found is not None:
            yield f"the log has {found!r}"


class _Outcome:
    """A plugin that notes how pytest's tests went, and imposes the lab's limits."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.problems: list[str] = []
        self.dmesg: list[str] = []
        self.passed = 0

    def pytest_configure(self, config: Any) -> None:
        """Before any test."""
        from kmod_emu.labs.plugin import LIMITS

        config.stash[LIMITS] = self._lab.bounds.machine

    def pytest_runtest_logfinish(self) -> None:
        """A test has ended, and its machine with it."""
        gc.collect()

    def pytest_collectreport(self, report: Any) -> None:
        """A file was read."""
        if report.failed:
            self.problems.append(report.longreprtext.strip().splitlines()[-1])

    def pytest_runtest_logreport(self, report: Any) -> None:
        """A phase of a test ended."""
        self.passed += report.passed and report.when == "call"
        if report.skipped:
            self.problems.append("it was skipped")
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            text = str(crash.message) if crash else report.longreprtext
            first = next(iter(text.strip().splitlines()), "it failed")
            sections = {name: body.splitlines() for name, body in report.sections}
            told = sections.get("reports", [])
            if not (told and _KILLED in first):
                told = [first, *told]
            for problem in (_HINT.sub("", line) for line in told):
                if not any(problem in known for known in self.problems):
                    self.problems.append(problem)
            self.dmesg = sections.get("dmesg", [])


def _pytest(check: Check, lab: Lab, module: Path) -> Verdict:
    """Run tests of a file beside LAB.toml; the module is what their `insmod` finds."""
    import contextlib
    import os

    import pytest

    folder, outcome = lab.path.parent, _Outcome(lab)
    choice = profile_for(str(module))
    release = choice.profile.release if choice else lab.release
    unused = ("cacheprovider", "xdist", "unraisableexception", "threadexception")
    options = ["-q", *(word for name in unused for word in ("-p", f"no:{name}"))]
    options += ["-c", os.devnull, f"--rootdir={folder}", f"--confcutdir={folder}"]
    options += [f"--kmod-sanitize={lab.sanitize}"]
    options += ["--import-mode=importlib", f"--kmod-dir={module.parent}", f"--kmod-release={release}"]
    if lab.kernel:
        options.append(f"--kmod-kernel={lab.kernel}")
    with open(os.devnull, "w", encoding="utf-8") as nowhere, contextlib.redirect_stdout(nowhere):
        status = pytest.main([*options, f"{folder}/{check.pytest}"], plugins=[outcome])
    if not outcome.problems and (status or not outcome.passed):
        outcome.problems.append(f"pytest found nothing to run in {check.pytest}")
    return Verdict(outcome.problems, outcome.dmesg[-_LOG_LINES:])
