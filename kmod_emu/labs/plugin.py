"""The pytest plugin: machines, modules and processes as fixtures; nothing of them is imported before that."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kmod_emu.api import Kernel
    from kmod_emu.kernel.limits import Limits
    from kmod_emu.module.modules import Module
    from kmod_emu.user.process import Process

_MARKERS = (
    "release(name): the kernel release of the machine, such as '5.10'",
    "base_kernel(vmlinuz): a distribution's kernel instead: a file, or a release of `kmod-emu kernel list`",
    "sanitizers(level): the machine's checks, 'default', 'all' or 'off'",
    "module(file, params=''): load this module before the test begins: a .ko, a .c or a sample's name",
    "limits(instructions=..., memory=..., time=..., virtual=..., dmesg=..., files=..., tasks=...): "
    "what modules may use, such as '16M'",
    "reports_expected: warnings, oopses and findings do not fail the test",
)
LIMITS = pytest.StashKey["Limits"]()  # of a run: what a grader imposes
_MACHINE = pytest.StashKey["Kernel"]()
_BUILT = pytest.StashKey[dict[tuple[Path, str], Path]]()
_LEVELS = ("default", "all", "off")
_MOST_LINES = 60


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this plugin."""
    group = parser.getgroup("kmod-emu")
    group.addoption("--kmod-release", metavar="RELEASE", help="kernel release of machines, such as 6.1")
    group.addoption(
        "--kmod-kernel", metavar="VMLINUZ", help="a distribution's kernel: a file, or its release"
    )
    group.addoption("--kmod-sanitize", choices=_LEVELS, default="default", help="what machines check")
    group.addoption("--kmod-dir", metavar="DIR", help="where modules are looked for first")


def pytest_configure(config: pytest.Config) -> None:
    """Markers of this plugin."""
    for line in _MARKERS:
        config.addinivalue_line("markers", line)


@pytest.fixture
def kernel(request: pytest.FixtureRequest) -> Kernel:
    """A machine that has just booted; with the modules of the test's `module` marks."""
    from kmod_emu.labs.machine import machine as boot

    limits = request.config.stash.get(LIMITS, None)
    if mark := request.node.get_closest_marker("limits"):
        limits = _limits(mark)
    level = _marked(request, "sanitizers") or request.config.getoption("--kmod-sanitize")
    if level not in _LEVELS:
        raise pytest.UsageError(f"sanitizers({level!r}): it has to be one of {', '.join(_LEVELS)}")
    release = _marked(request, "release") or request.config.getoption("--kmod-release")
    base = _marked(request, "base_kernel") or request.config.getoption("--kmod-kernel")
    try:
        machine = boot(release, base, sanitize=level, limits=limits)
    except LookupError as error:
        raise pytest.UsageError(error.args[0]) from None
    request.node.stash[_MACHINE] = machine
    for mark in reversed(list(request.node.iter_markers("module"))):
        if not mark.args:
            raise pytest.UsageError("the mark module takes a file, and parameters")
        _load(request, machine, *mark.args, **mark.kwargs)
    return machine


@pytest.fixture
def insmod(request: pytest.FixtureRequest, kernel: Kernel) -> Callable[..., Module]:
    """Load a module: `insmod("x.c", "count=2")`, built if it is a source; raises KernelError."""

    def load(file: str | Path, params: str = "", **options: Any) -> Module:
        return _load(request, kernel, file, params, **options)

    return load


@pytest.fixture
def process(kernel: Kernel) -> Iterator[Process]:
    """A process of the machine, of root; it exits at the end."""
    with kernel.process(uid=0, comm="test") as found:
        yield found


@pytest.fixture
def dmesg(kernel: Kernel) -> Callable[[], list[str]]:
    """The kernel log: `dmesg()` gives its lines without time stamps."""
    return kernel.dmesg


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Any:
    """A test fails where its machine found something."""
    result = yield
    machine = item.stash.get(_MACHINE, None)
    if machine is not None and not item.get_closest_marker("reports_expected"):
        texts = [report["text"] for report in machine.findings.reports]
        if texts:
            pytest.fail("the machine reports: " + _shown(texts), pytrace=False)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """A failure shows what the machine said."""
    report = yield
    machine = item.stash.get(_MACHINE, None)
    if machine is not None and report.failed:
        lines = machine.dmesg()
        skipped = [f"... {len(lines) - _MOST_LINES} lines more"] if len(lines) > _MOST_LINES else []
        report.sections.append(("dmesg", _shown(skipped + lines[-_MOST_LINES:])))
        if found := machine.findings.reports:
            report.sections.append(("reports", _shown([entry["text"] for entry in found])))
    if machine is not None and report.when == "teardown":
        del item.stash[_MACHINE]
    return report


def _shown(lines: list[str]) -> str:
    from kmod_emu.text import tame

    return tame("\n".join(lines))


def _marked(request: pytest.FixtureRequest, name: str) -> str | None:
    """What a mark with one argument says."""
    mark = request.node.get_closest_marker(name)
    if mark is None:
        return None
    if len(mark.args) != 1 or mark.kwargs or not isinstance(mark.args[0], str):
        raise pytest.UsageError(f"the mark {name} takes one argument, a text")
    return str(mark.args[0])


def _limits(mark: pytest.Mark) -> Limits:
    from kmod_emu.kernel.limits import Limits

    given = {name: "none" if value is None else value for name, value in mark.kwargs.items()}
    try:
        return Limits.parse(
            ",".join([*map(str, mark.args), *(f"{name}={value}" for name, value in given.items())])
        )
    except ValueError as error:
        raise pytest.UsageError(f"the mark limits: {error}") from None


def _load(
    request: pytest.FixtureRequest, kernel: Kernel, file: str | Path, params: str = "", **options: Any
) -> Module:
    return kernel.insmod(_find(request, kernel, str(file)), params, **options)


def _find(request: pytest.FixtureRequest, kernel: Kernel, file: str) -> Path:
    """A module's file: a source is built, or the .ko beside it taken where that cannot be."""
    from kmod_emu import samples

    given = request.config.getoption("--kmod-dir")
    for folder in (*([Path(given)] if given else []), request.path.parent):
        place = folder / file
        ready = place.with_suffix(".ko")
        if given and folder == Path(given) and ready.is_file():
            return ready
        if place.suffix == ".c" and place.is_file():
            return _built(request, kernel, place)
        if place.is_file() and place.suffix != ".c":
            return place
        if ready.is_file():
            return ready
    if file in samples.names():
        return samples.path(file)
    raise pytest.UsageError(f"there is no module {file}")


def _built(request: pytest.FixtureRequest, kernel: Kernel, source: Path) -> Path:
    """The module of a C file, built once a session."""
    from kmod_emu.labs.compile import NoHeaders, compile_module, headers_for

    built = request.config.stash.setdefault(_BUILT, {})
    key = source, kernel.profile.release
    if key not in built:
        try:
            headers = headers_for(kernel.profile.release)
        except NoHeaders as error:
            if source.with_suffix(".ko").is_file():
                return source.with_suffix(".ko")
            pytest.skip(f"{source.name} cannot be built: {error}")
        factory: pytest.TempPathFactory = request.getfixturevalue("tmp_path_factory")
        sources = [source, *sorted(source.parent.glob("*.h"))]
        built[key] = compile_module(source.stem, sources, factory.mktemp(source.stem), headers)
    return built[key]
