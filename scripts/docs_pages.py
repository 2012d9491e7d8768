"""Pages of the site that are made from the code: each command's help, and each export of the base kernel."""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click
from mkdocs.structure.files import File

from kmod_emu.abi import profile
from kmod_emu.api import Kernel
from kmod_emu.kernel import percpu
from kmod_emu.kernel.calltext import prototype_of
from kmod_emu.kernel.exports import registered
from kmod_emu.kernel.symbols import Origin
from scripts.man_pages import commands

if TYPE_CHECKING:
    from mkdocs.structure.files import Files

ROOT = Path(__file__).parent.parent
_CITED = re.compile(r"\(((?:[\w.*-]+/)+[\w.*-]*)")  # (lib/string.c), (kernel/locking/)
_UNKNOWN = "elsewhere"
_MADE_BY_MACROS = {  # what names begin with that no source spells out, and the source
    "__x86_indirect_": "thunks.S",
    "__SCT__": "thunks.S",
    "kstrto": "kstrtox.c",
    "param_": "params.c",
    "xxh": "xxhash.c",
}
_INTRODUCTION = """\
The {count} functions and variables of the base kernel that a module may import and that are there, by
the kernel's source file that they are written after. `exact`: behaves as the kernel's, as far as a
module can see; `approximate`: the docstring says what differs; `registration only`: it is noted, and
nothing comes of it; `guest code`: computed by code of the machine, as in the kernel. Whatever else a
module imports stops it with a report when it is used; `kmod-emu coverage FILE.ko` tells beforehand.
"""


class Row(NamedTuple):
    """One export.

    Attributes:
        file: Of the kernel, that it is written after.
        place: Ours, that serves it.
        text: What its docstring says first, without the file.
    """

    name: str
    prototype: str
    fidelity: str
    file: str
    place: str
    text: str


def on_config(config: Any) -> Any:
    """Before MkDocs looks for files: pages that mkdocs.yml does not name yet are how-to pages."""
    named = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    (how_to,) = (part["How to"] for part in config.nav if "How to" in part)
    how_to += sorted(page.name for page in (ROOT / "docs").glob("*.md") if page.name not in named)
    return config


def on_files(files: Files, config: Any) -> Files:
    """MkDocs asks which files there are."""
    for path, text in (("commands", commands_page()), ("exports", exports_page())):
        files.append(File.generated(config, f"reference/{path}.md", content=text))
    return files


def commands_page() -> str:
    """What `kmod-emu COMMAND --help` prints, for each."""
    parts = ["# Commands\n\nWhat `--help` prints.\n"]
    for path, command in commands().items():
        context = click.Context(command, info_name=" ".join(("kmod-emu", *path)), max_content_width=100)
        parts.append(f"## kmod-emu {' '.join(path)}\n\n```text\n{command.get_help(context)}\n```\n")
    return "\n".join(parts)


# --- exports ------------------------------------------------------------------------------------------


def rows() -> list[Row]:
    """All exports that modules of any release known may import, and that are there."""
    guest = _guest_files()
    found: dict[str, Row] = {}
    for release in sorted(profile.available(), key=lambda release: not release.startswith("6.1.")):
        kernel = Kernel(release)
        for symbol in kernel.symbols.present():
            if symbol.name not in found:
                known = prototype_of(kernel, symbol.name)
                found[symbol.name] = _row(symbol.name, symbol.origin, known.text if known else "", guest)
    return sorted(found.values(), key=lambda row: (row.file == _UNKNOWN, row.file, row.name))


def _row(name: str, origin: Origin, prototype: str, guest: dict[str, tuple[str, str]]) -> Row:
    handler = registered().get(name) or registered().get(name.removesuffix("_noprof"))
    if origin is Origin.IMAGE or handler is None:
        file, place = _guest_place(name, guest)
        return Row(name, prototype or name, "guest code", file or _UNKNOWN, place, "")
    module = handler.function.__module__
    own = handler.function.__doc__ or ""
    cited = _CITED.search(own) or _CITED.search(sys.modules[module].__doc__ or "")
    text = re.sub(r"\s*\([^()]*\.[chS][^()]*\)", "", own.strip().partition("\n")[0])
    return Row(
        name,
        prototype or handler.declaration,
        handler.fidelity.value,
        cited[1].rstrip("/") if cited else _UNKNOWN,
        module.replace(".", "/") + ".py",
        text,
    )


def _guest_files() -> dict[str, tuple[str, str]]:
    """Symbol of the guest image -> the kernel's file that its source names, and the source."""
    found = {}
    for path in sorted((ROOT / "guest_kernel_stubs").glob("*.[cS]")):
        text = path.read_text(encoding="utf-8")
        cited = _CITED.search(text.partition("*/")[0])
        for line in text.splitlines():
            for name in re.findall(r"\w+", line) if re.match(r"\w", line) else ():
                found.setdefault(
                    name, (cited[1].rstrip("/") if cited else "", f"guest_kernel_stubs/{path.name}")
                )
    return found


def _guest_place(name: str, guest: dict[str, tuple[str, str]]) -> tuple[str, str]:
    """The kernel's file and ours of what is neither a handler of its own nor exported data."""
    if name in percpu.MAINTAINED:
        cited = _CITED.search(percpu.__doc__ or "")
        return cited[1] if cited else "", "kmod_emu/kernel/percpu.py"
    made = next((file for start, file in _MADE_BY_MACROS.items() if name.startswith(start)), None)
    if name not in guest and made:
        return next(place for place in guest.values() if place[1].endswith(f"/{made}"))
    return guest.get(name, ("", "guest_kernel_stubs"))


def exports_page() -> str:
    """A table for each file of the kernel."""
    by_file = defaultdict(list)
    for row in rows():
        by_file[row.file].append(row)
    count = sum(map(len, by_file.values()))
    parts = [f"# Exports\n\n{_INTRODUCTION.format(count=count)}"]
    for file, exports in by_file.items():
        parts.append(f"## {file}\n")
        parts.append(
            "<table><thead><tr><th>Export</th><th>Fidelity</th><th>Served by</th></tr></thead><tbody>"
        )
        for row in exports:
            note = f"<br>{escape(row.text)}" if row.text else ""
            parts.append(
                f'<tr id="{escape(row.name)}"><td><code>{escape(row.prototype)}</code>{note}</td>'
                f"<td>{row.fidelity}</td><td><code>{escape(row.place)}</code></td></tr>"
            )
        parts.append("</tbody></table>\n")
    return "\n".join(parts)
