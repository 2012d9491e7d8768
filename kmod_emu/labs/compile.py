"""Building one module from sources that nobody has looked at.

Only C sources and headers take part; the Kbuild file is ours, and what a Makefile beside them says is never
run. What the compiler says is passed on only as far as it speaks of these sources: text of other files that
they try to include stays where it is. The compiler is limited in time, memory and output.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from kmod_emu.kbuild.headers import advice, find_headers

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SOURCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*\.[ch]")
_MOST_LINES, _MOST_CHARACTERS = 20, 200
_MEMORY, _FILE, _LOG = 2 << 30, 256 << 20, 1 << 20
_TOOLCHAIN = ("/usr/src/", "/usr/lib", "/lib/modules/", "/usr/bin/", "/usr/libexec/")
_SAID = re.compile(r"(?:\S*/)?([\w-]+\.[ch]):(\d+):(?:\d+:)? ((?:fatal )?error|warning): (.*)")
_MISSING = re.compile(r"(?:ERROR|WARNING): modpost: (.*)")
_SPLICE = re.compile(r"\\\s*\n")
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_INCLUDE = re.compile(r"^\s*(?:#|%:)\s*(?:include|include_next|import|embed)\b\s*(.*)$", re.MULTILINE)
_PLACE = re.compile(r"[<\"]([\w./+-]+)[>\"]")
_READS = re.compile(rb"^\s*\.(?:incbin|include)\b", re.MULTILINE)


class CompileError(Exception):
    """Why there is no module: one sentence, and what the compiler said of the sources.

    Args:
        reason: The sentence.
        lines: The compiler's.
    """

    def __init__(self, reason: str, lines: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.reason, self.lines = reason, list(lines)

    def __str__(self) -> str:
        return "\n".join([self.reason, *self.lines])


class NoHeaders(CompileError):
    """This computer cannot build for that kernel."""


def headers_for(release: str) -> Path:
    """Kernel headers for a release that has a profile, else for another one of its series.

    Raises:
        NoHeaders: There are none here.
    """
    series = ".".join(release.split(".")[:2])
    headers = find_headers(release) or find_headers(f"{series}.*")
    if headers is None:
        raise NoHeaders(f"there are no kernel headers for {release} here; {advice()}")
    for tool in ("make", "gcc"):
        if shutil.which(tool) is None:
            raise NoHeaders(f"{tool} is not installed")
    return headers


def compile_module(
    name: str, sources: Sequence[Path], folder: Path, headers: Path, *, seconds: float = 60
) -> Path:
    """Build NAME.ko.

    Args:
        name: The module's.
        sources: Its .c files, and headers; a module of several .c files is linked of all.
        folder: An empty directory to do it in, without spaces in its path.
        headers: The kernel's.
        seconds: How long that may take.

    Raises:
        CompileError: It does not build, or may not be built.
    """
    units = [path.stem for path in sources if path.suffix == ".c"]
    if not units:
        raise CompileError("there is no .c file")
    for path in sources:
        _check_includes(path)
        shutil.copyfile(path, folder / path.name, follow_symlinks=False)
    (folder / "Kbuild").write_text(_kbuild(name, units, folder))
    said = _make(folder, headers, seconds)
    _check_what_was_read(folder, headers)
    module = folder / f"{name}.ko"
    if not module.is_file():
        raise CompileError("it does not build", _of_these(said, {path.name for path in sources}))
    return module


def _kbuild(name: str, units: Sequence[str], folder: Path) -> str:
    lines = [f"obj-m := {name}.o"]
    if units != [name]:
        if name in units:
            raise CompileError(f"none of several .c files may be called {name}.c: {name}.o is of them all")
        lines.append(f"{name}-objs := {' '.join(f'{unit}.o' for unit in units)}")
    flags = f"-ffile-prefix-map={folder.resolve()}/= -fno-diagnostics-show-caret -fdiagnostics-color=never"
    return "\n".join([*lines, f"ccflags-y := -save-temps=obj {flags}", ""])


def _check_includes(path: Path) -> None:
    """Refuse what reads files outside the sources and the kernel's headers, as far as text tells."""
    text = path.read_text(encoding="utf-8", errors="replace")
    text = _COMMENT.sub(" ", _SPLICE.sub("", text))
    for match in _INCLUDE.finditer(text):
        place = _PLACE.match(match[1])
        if place is None or place[1].startswith("/") or ".." in place[1].split("/"):
            raise CompileError(f"{path.name} includes a file that is neither its own nor the kernel's")
    if ".incbin" in text:
        raise CompileError(f"{path.name} reads a file with .incbin")


def _check_what_was_read(folder: Path, headers: Path) -> None:
    """Refuse a module into which another file went: by a macro, or by the assembler."""
    allowed = (str(folder.resolve()), str(headers.resolve()), *_TOOLCHAIN)
    for path in folder.glob(".*.o.cmd"):
        for word in path.read_text(errors="replace").split():
            if (
                word.startswith("/")
                and not os.path.realpath(word).startswith(allowed)
                and os.path.isfile(word)
            ):
                raise CompileError("it includes a file that is neither its own nor the kernel's")
    for path in folder.glob("*.s"):
        if _READS.search(path.read_bytes()):
            raise CompileError("its assembly reads a file")


def _make(folder: Path, headers: Path, seconds: float) -> str:
    def limit() -> None:
        for what, value in (
            (resource.RLIMIT_CPU, int(seconds) + 1),
            (resource.RLIMIT_AS, _MEMORY),
            (resource.RLIMIT_FSIZE, _FILE),
            (resource.RLIMIT_CORE, 0),
        ):
            resource.setrlimit(what, (value, value))

    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TMPDIR": str(folder)}
    with (folder / "make.log").open("wb") as log:
        process = subprocess.Popen(
            ["make", "-s", "-C", str(headers), f"M={folder.resolve()}", "modules"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=limit,
            start_new_session=True,
        )
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise CompileError(f"it takes more than {seconds:g} s to build") from None
        finally:
            _end_group(process)
    return (folder / "make.log").read_bytes()[:_LOG].decode("utf-8", "replace")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process with all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _of_these(said: str, names: set[str]) -> list[str]:
    """What the compiler and modpost said of these files."""
    lines = []
    for line in said.splitlines():
        if (match := _SAID.fullmatch(line)) and match[1] in names:
            lines.append(f"{match[1]}:{match[2]}: {match[3]}: {match[4]}")
        elif match := _MISSING.fullmatch(line):
            lines.append(match[1])
    lines = [line[:_MOST_CHARACTERS] for line in lines]
    return lines[:_MOST_LINES] + (["..."] if len(lines) > _MOST_LINES else [])
