"""Modules to begin with: a source that builds, loads and unloads, and its Makefile."""

from __future__ import annotations

import re
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,50}")
_FOLDER = "data/templates"
KINDS = {
    "hello": "prints when it comes and goes",
    "params": "parameters of several types",
    "chrdev": "a character device with read, write and ioctl, and its node in /dev",
    "misc": "a misc device whose read waits for a write",
    "proc": "a file in /proc with a list, by seq_file",
    "timer": "a timer that fires again and again",
    "kthread": "a kernel thread that is stopped at exit",
}


def names_file(name: str) -> bool:
    """Whether a module can have that name.

    >>> names_file("my-first"), names_file("2nd"), names_file("../x")
    (True, False, False)
    """
    return bool(_NAME.fullmatch(name))


def write(folder: Path, name: str, kind: str) -> list[Path]:
    """Write the files of a new module into a new or empty directory.

    Raises:
        FileExistsError: There is something in the directory.
        OSError: It cannot be written.
    """
    import jinja2

    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(17, "there is something in it already", str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    environment = jinja2.Environment(keep_trailing_newline=True, undefined=jinja2.StrictUndefined)
    written = []
    for template, file in ((f"{kind}.c.j2", f"{name}.c"), ("Makefile.j2", "Makefile")):
        source = resources.files("kmod_emu").joinpath(_FOLDER, template).read_text(encoding="utf-8")
        text = environment.from_string(source).render(file=name, name=name.replace("-", "_"))
        (folder / file).write_text(text, encoding="utf-8")
        written.append(folder / file)
    return written
