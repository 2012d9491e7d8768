"""Building one module from sources that nobody has looked at.

Only C sources and headers take part; the Kbuild file is ours, and what a Makefile beside them says is never
run. The compiler is limited in time, memory and output, but sees the file system. So it tells which files it
read (-H), and so does the assembler, in whose place it finds a script that adds --MD: whatever macros made of
`#include` and `.incbin`, also in what modpost writes, a module into which another file went is refused, and
nothing of what was said about it is passed on.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

from kmod_emu.kbuild.headers import advice, find_headers
from kmod_emu.labs.bounds import limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SOURCE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*\.[ch]")
_MOST_LINES, _MOST_CHARACTERS = 20, 200
_TOOLS = ".tools"
_MEMORY, _FILE, _LOG = 2 << 30, 256 << 20, 1 << 20
_TOOLCHAIN = ("/usr/src", "/usr/lib", "/lib/modules", "/usr/libexec")
_SAID = re.compile(r"(?:\S*/)?([\w-]+\.[ch]):(\d+):(?:\d+:)? ((?:fatal )?error|warning): (.*)")
_MISSING = re.compile(r"(?:ERROR|WARNING): modpost: (.*)")
_SPLICE = re.compile(r"\\\s*\n")
_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_INCLUDE = re.compile(r"^\s*(?:#|%:)\s*(?:include|include_next|import|embed)\b\s*(.*)$", re.MULTILINE)
_PLACE = re.compile(r"[<\"]([\w./+-]+)[>\"]")
_INCLUDED = re.compile(r"^\.+ (.+)$", re.MULTILINE)  # gcc -H: a dot for each level
_SPACE = re.compile(r"(?<!\\)\s+")
_NOT_ITS_OWN = "it includes a file that is neither its own nor the kernel's"


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
    allowed = [os.path.realpath(place) + "/" for place in (folder, headers, *_TOOLCHAIN)]
    for read in _files_read(said, folder):
        if not os.path.realpath(headers / read).startswith(tuple(allowed)):
            raise CompileError(_NOT_ITS_OWN)
    module = folder / f"{name}.ko"
    if not module.is_file():
        said = _INCLUDED.sub("", said)[:_LOG]
        raise CompileError("it does not build", _of_these(said, {path.name for path in sources}))
    return module


def _kbuild(name: str, units: Sequence[str], folder: Path) -> str:
    lines = [f"obj-m := {name}.o"]
    if units != [name]:
        if name in units:
            raise CompileError(f"none of several .c files may be called {name}.c: {name}.o is of them all")
        lines.append(f"{name}-objs := {' '.join(f'{unit}.o' for unit in units)}")
    flags = f"-ffile-prefix-map={folder.resolve()}/= -fno-diagnostics-show-caret -fdiagnostics-color=never"
    return "\n".join([*lines, f"ccflags-y := {flags}", ""])


def _check_includes(path: Path) -> None:
    """Refuse what reads files outside the sources and the kernel's headers, as far as text tells."""
    text = path.read_text(encoding="utf-8", errors="replace")
    text = _COMMENT.sub(" ", _SPLICE.sub("", text))
    for match in _INCLUDE.finditer(text):
        place = _PLACE.match(match[1])
        if place is None or place[1].startswith("/") or ".." in place[1].split("/"):
            raise CompileError(_NOT_ITS_OWN)


def _files_read(said: str, folder: Path) -> Iterator[str]:
    """What went into the module, as compiler and assembler tell."""
    yield from _INCLUDED.findall(said)
    for path in (folder / _TOOLS).glob("*.d"):
        for word in _SPACE.split(path.read_text(errors="replace")):
            if word.startswith("/"):
                yield word


def _put_assembler(folder: Path) -> Path:
    """A directory in which gcc finds an assembler that tells what it reads."""
    tools = folder / _TOOLS
    tools.mkdir()
    script = tools / "as"
    script.write_text(f'#!/bin/sh\nexec {shutil.which("as")} --MD "{tools.resolve()}/$$.d" "$@"\n')
    script.chmod(0o755)
    return tools


def _make(folder: Path, headers: Path, seconds: float) -> str:
    def limit_all() -> None:
        limit("RLIMIT_CPU", int(seconds) + 1)
        limit("RLIMIT_AS", _MEMORY)
        limit("RLIMIT_FSIZE", _FILE)
        limit("RLIMIT_CORE", 0)

    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "TMPDIR": str(folder),
        "COMPILER_PATH": str(_put_assembler(folder).resolve()),
    }
    with (folder / "make.log").open("wb") as log:
        process = subprocess.Popen(
            ["make", "-s", "-C", str(headers), f"M={folder.resolve()}", "KCFLAGS=-H", "modules"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            preexec_fn=limit_all,
            start_new_session=True,
        )
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise CompileError(f"it takes more than {seconds:g} s to build") from None
        finally:
            _end_group(process)
    return (folder / "make.log").read_text(encoding="utf-8", errors="replace")


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
