"""Which kernels have the functions, variables and members that this program asks a kernel for.

    python -m scripts.record_names VMLINUZ...

One image of each release that is supported: writes tests/vmlinux/names.tsv, which a test compares with
what the code asks for, so that a name that only one of them has is noticed where only that one is installed.
What is known of other releases is kept, and so is the last column: what serves where a name is missing.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import kmod_emu.handlers  # noqa: F401 - rows of the frontier share what importing them registers
from kmod_emu.abi.btf import Btf
from kmod_emu.vmlinux import facts, kallsyms
from kmod_emu.vmlinux.frontier import files as _files  # noqa: F401 - importing them fills the table
from kmod_emu.vmlinux.frontier.table import declared
from kmod_emu.vmlinux.vmlinux import Vmlinux

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAM = Path(__file__).parents[1] / "kmod_emu"
TABLE = Path(__file__).parents[1] / "tests/vmlinux/names.tsv"
_ASKS = frozenset(("symbol", "_call", "internal", "symbol_size", "call", "ask"))


def asked() -> set[str]:
    """Names of symbols, and `struct.member`, that the rooms of real kernels ask for by a constant."""
    return {name for path in (PROGRAM / "vmlinux").rglob("*.py") for name in _asked_in(path)}


def _asked_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        words = [each.value for each in node.args if isinstance(each, ast.Constant)]
        texts = [word for word in words if isinstance(word, str) and word.isidentifier()]
        if called in _ASKS and texts and words[0] == texts[0]:
            yield texts[0]
        elif called == "offset" and len(texts) == 2:
            yield ".".join(texts)


def rows() -> set[str]:
    """Names of the frontier's functions."""
    return set(declared())


def read_table() -> dict[str, tuple[set[str], str]]:
    """Name -> (releases that have it, what serves in others)."""
    lines = [line.split("\t") for line in TABLE.read_text().splitlines()[1:]]
    return {name: (set(series.split()), instead) for name, series, instead in lines}


def main(images: list[str]) -> None:
    """Write the table."""
    known = read_table() if TABLE.exists() else {}
    names = sorted(asked() | rows())
    found = {name: set(known[name][0]) if name in known else set() for name in names}
    for image in images:
        kernel = Vmlinux.from_image(Path(image).read_bytes())
        symbols = kallsyms.find(kernel)
        assert symbols is not None, f"{image} has no symbols"
        series = ".".join(facts.identify(kernel, symbols).release.split("-")[0].split(".")[:2])
        has, types = {symbol.name for symbol in symbols}, Btf(kernel.contents(".BTF"))
        for name in names:
            struct, dot, member = name.partition(".")
            layout = types.layout(struct) if dot else None
            found[name].discard(series)
            if (layout is not None and member in layout.members) or {name, f"{name}_noprof"} & has:
                found[name].add(series)
    lines = [
        f"{name}\t{' '.join(sorted(found[name], key=_order))}\t{known.get(name, ((), ''))[1]}\n"
        for name in names
    ]
    TABLE.write_text("name\treleases\tinstead\n" + "".join(lines))


def _order(series: str) -> list[int]:
    return [int(part) for part in series.split(".")]


if __name__ == "__main__":
    main(sys.argv[1:])
