"""LAB.toml: what is handed in, what is tested for how many points, and what a submission may use."""

from __future__ import annotations

import hashlib
import re
import tomllib
from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu import __version__
from kmod_emu.kernel.limits import Limits, size
from kmod_emu.kmod.errors import ToolError

if TYPE_CHECKING:
    from pathlib import Path

_WRONG = 2
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,50}")
_KINDS = {int: "a number", float: "a number", str: "a text", bool: "true or false", list: "a list of texts"}


class LabError(ToolError):
    """A LAB.toml that cannot be used."""

    def __init__(self, text: str) -> None:
        super().__init__(f"kmod-emu: {text}", _WRONG)


class Check(NamedTuple):
    """One `[[test]]`: pytest's, or what is done with the module and has to come of it.

    Attributes:
        name: What it is about.
        points: What it is worth.
        pytest: `file.py::test`, beside LAB.toml; all else is then left to it.
        insmod: The module's parameters.
        expect: "0", or the errno's name that insmod has to fail with.
        seconds: How much virtual time passes then.
        shell: A script for the machine's shell.
        status: What it has to end with.
        output: What it has to print, but for white space at the end.
        rmmod: Whether the module is removed at the end, which has to succeed.
        dmesg: Regular expressions that lines of the log match, in this order.
        no_dmesg: Such that none matches.
        reports: Whether the machine may report something.
    """

    name: str
    points: float = 1
    pytest: str = ""
    insmod: str = ""
    expect: str = "0"
    seconds: float = 0
    shell: str = ""
    status: int = 0
    output: str | None = None
    rmmod: bool = True
    dmesg: tuple[str, ...] = ()
    no_dmesg: tuple[str, ...] = ()
    reports: bool = False


class Bounds(NamedTuple):
    """The `[limits]` of a lab.

    Attributes:
        build: Seconds that building may take.
        instructions: That a module may run without sleeping; it ends alike everywhere.
        call: Processor seconds that a call into the kernel may take, if instructions do not end it.
        processor: Of all tests of a submission.
        wall: Real seconds of all tests.
        memory: Bytes of guest memory.
        virtual: Seconds that may pass on a machine.
        dmesg: Bytes in a machine's log.
        output: Bytes of a message.
        host_memory: Bytes of a worker process.
    """

    build: float = 60
    instructions: int = 100_000_000
    call: float = 5
    processor: float = 60
    wall: float = 300
    memory: int = 96 << 20
    virtual: float = 3600
    dmesg: int = 64 << 10
    output: int = 2000
    host_memory: int = 8 << 30

    @property
    def machine(self) -> Limits:
        """Those that a machine obeys."""
        return Limits(
            time=self.call,
            instructions=self.instructions,
            virtual=self.virtual,
            memory=self.memory,
            dmesg=self.dmesg,
        )


class Lab(NamedTuple):
    """A lab.

    Attributes:
        path: Of its LAB.toml.
        module: The name of the module that is handed in.
        title: For people.
        release: The kernel's.
        kernel: A distribution's kernel instead: a file, or its release; "" for none.
        sanitize: What machines check: "default", "all" or "off".
        ko: Whether a built module may be handed in.
        files: Names that count, as patterns; others are left out.
        bounds: Its limits.
        checks: Its tests.
    """

    path: Path
    module: str
    title: str
    release: str
    kernel: str
    sanitize: str
    ko: bool
    files: tuple[str, ...]
    bounds: Bounds
    checks: tuple[Check, ...]

    @property
    def points(self) -> float:
        """Full marks."""
        return sum(check.points for check in self.checks)

    def digest(self) -> str:
        """Changes with everything that marks depend on, but the submission."""
        digest = hashlib.sha256(__version__.encode())
        for path in sorted({self.path, *self.path.parent.glob("*.py"), *self.path.parent.glob("*.h")}):
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
        return digest.hexdigest()


def read_lab(path: Path) -> Lab:
    """The lab that a LAB.toml describes.

    Raises:
        LabError: It cannot be read, or says something that it cannot say.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LabError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise LabError(f"{path}: {error}") from None
    where = str(path)
    tests = table.pop("test", [])
    bounds = _bounds(where, table.pop("limits", {}))
    given = _fields(where, table, _TOP)
    module = given.get("module", "")
    if not _NAME.fullmatch(module):
        raise LabError(f'{where}: module = "NAME" has to say what is handed in')
    if not tests or not isinstance(tests, list):
        raise LabError(f"{where}: there is no [[test]]")
    checks = tuple(_check(f"{where}: test {number}", test) for number, test in enumerate(tests, 1))
    names = [check.name for check in checks]
    if len(set(names)) < len(names):
        raise LabError(f"{where}: two tests have one name")
    files = given.get("files", ("*.c", "*.h"))
    title, release, kernel = (given.get(name, usual) for name, usual in _USUAL.items())
    if kernel and "release" in given:
        raise LabError(f"{where}: release is for the stub kernel, and kernel for a distribution's")
    sanitize = given.get("sanitize", "default")
    if sanitize not in ("default", "all", "off"):
        raise LabError(f"{where}: sanitize has to be default, all or off")
    base, takes = (release, kernel, sanitize), (given.get("ko", True), files)
    return Lab(path.resolve(), module, title or module, *base, *takes, bounds, checks)


_USUAL = {"title": "", "release": "6.1", "kernel": ""}
_TOP: dict[str, Any] = {"module": "", **_USUAL, "sanitize": "", "ko": True, "files": ()}


def _fields(where: str, table: Any, defaults: dict[str, Any]) -> dict[str, Any]:
    """The entries of a table, which are those of `defaults` and of their types."""
    if not isinstance(table, dict):
        raise LabError(f"{where}: a table is expected")
    found: dict[str, Any] = {}
    for name, value in table.items():
        if name not in defaults:
            raise LabError(f"{where}: {name!r} is unknown; there are {', '.join(defaults)}")
        kind = str if defaults[name] is None else type(defaults[name])
        if kind is tuple and isinstance(value, list) and all(isinstance(one, str) for one in value):
            value = tuple(value)
        number = kind in (int, float) and isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number and not isinstance(value, kind):
            raise LabError(f"{where}: {name} has to be {_KINDS.get(kind, 'a list of texts')}")
        if number and value < 0:
            raise LabError(f"{where}: {name} cannot be negative")
        found[name] = value
    return found


def _bounds(where: str, table: Any) -> Bounds:
    defaults = Bounds()._asdict()
    if isinstance(table, dict):
        try:
            table = {
                name: size(value) if name in defaults and isinstance(value, str) else value
                for name, value in table.items()
            }
        except ValueError as error:
            raise LabError(f"{where}: limits: {error}") from None
    return Bounds(**_fields(f"{where}: limits", table, defaults))


def _check(where: str, table: Any) -> Check:
    defaults = {"name": ""} | Check._field_defaults | {"points": 1.0}
    if isinstance(table, dict) and isinstance(table.get("expect"), int):
        table = table | {"expect": str(table["expect"])}
    given = _fields(where, table, defaults)
    if not given.get("name"):
        raise LabError(f"{where}: it has no name")
    for pattern in (*given.get("dmesg", ()), *given.get("no_dmesg", ())):
        try:
            re.compile(pattern)
        except re.error as error:
            raise LabError(f"{where}: {pattern!r} is no regular expression: {error}") from None
    return Check(**given)
