"""depmod of modutils: which object needs which, and the modules.dep that modprobe reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.classic import char_dev, conf, exports, kmod
from kmod_emu.classic.kmod import ModuleLoader
from kmod_emu.classic.link import bare
from kmod_emu.classic.obj import STB_LOCAL, STB_WEAK, ObjectFile
from kmod_emu.classic.structs import RELEASE
from kmod_emu.classic.tool import MODUTILS_VERSION
from kmod_emu.kernel.exports import symbol_name
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.getopt import Command, Getopt
from kmod_emu.module.elf import cstring

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from kmod_emu.kmod.console import Console

COMMAND = Command(
    "depmod",
    "[RELEASE | FILE.o...]",
    "Find out which module needs which, and write modules.dep; for files that are named, only print it.",
    {
        "-a, --all": "all modules of the directory (the default)",
        "-A, --quick": "the same",
        "-b, --basedir=DIR": "the modules lie in DIR/lib/modules/RELEASE",
        "-C, --config=FILE": "accepted and ignored",
        "-e, --errsyms": "also print the symbols that nobody exports",
        "-F, --filesyms=FILE": "what the kernel exports: a System.map or /proc/ksyms; else the machine's own",
        "-n, --stdout": "print it, write no file",
        "-q, --quiet": "no word on unresolved symbols",
        "-s, --syslog": "accepted and ignored",
        "-v, --verbose": "accepted and ignored",
        "-V, --version": "show the version",
        "-h, --help": "show this text",
    },
    MODUTILS_VERSION.format("depmod"),
)


class Module(NamedTuple):
    """One object: its name in modules.dep, what it defines for others and what it refers to."""

    path: str
    defines: set[str]
    needs: list[str]


class Found(NamedTuple):
    """What depmod finds out.

    Attributes:
        entries: Lines of modules.dep.
        unresolved: File -> symbols that nobody exports.
    """

    entries: list[conf.Entry]
    unresolved: dict[str, list[str]]


def main(console: Console, args: Sequence[str]) -> int:
    """The command."""
    line = Getopt(COMMAND, args)
    given = dict(console.options(line))
    named = [word for word in line.operands if word.endswith(".o") or "/" in word]
    if named:
        modules, target, release = [_read(Path(word), word) for word in named], None, RELEASE
    else:
        release = line.operands[0] if line.operands else RELEASE
        top = _directory(console, given.get("b"), release)
        target = top / "modules.dep"
        modules = [
            _read(file, f"/lib/modules/{release}/{file.relative_to(top)}") for file in conf.module_files(top)
        ]
    found = resolve(modules, _kernel_symbols(given.get("F")))
    if "q" not in given:
        for path, names in found.unresolved.items():
            console.err(f"depmod: *** Unresolved symbols in {path}")
            for name in names if "e" in given else ():
                console.err(f"depmod: \t{name}")
    text = render(found.entries)
    if target is None or "n" in given:
        console.out(text)
        return int(bool(found.unresolved))
    try:
        target.write_text(text, encoding="utf-8", errors="surrogateescape")
    except OSError as error:
        raise ToolError(f"depmod: Can't open {target} for writing: {error.strerror}") from None
    return int(bool(found.unresolved))


def _directory(console: Console, base: str | None, release: str) -> Path:
    """Where the modules are.

    Raises:
        ToolError: Nowhere, or where nothing may be written.
    """
    if base is not None:
        top = Path(base) / "lib" / "modules" / release
    else:
        with console.machine(change=False) as kernel:
            chosen = kernel[ModuleLoader].directory
        if chosen is None:
            raise ToolError("depmod: the machine has no module directory: use -b, or boot --modules DIR")
        top = Path(chosen)
    if not top.is_dir():
        raise ToolError(f"depmod: Can't open {top}: {os.strerror(2)}")
    return top


def _read(file: Path, path: str) -> Module:
    try:
        obj = ObjectFile(path, file.read_bytes())
    except OSError as error:
        raise ToolError(f"depmod: {file}: {error.strerror}") from None
    except ToolError as error:
        raise ToolError(f"depmod: {error}") from None
    needs = [
        symbol.name
        for symbol in obj.symbols.values()
        if symbol.undefined and symbol.binding != STB_WEAK and symbol.name != "__this_module"
    ]
    return Module(path, _exported(obj), needs)


def _exported(obj: ObjectFile) -> set[str]:
    """What insmod would let it export: the names in .kstrtab where there is a __ksymtab, else all globals."""
    table, strings = obj.find_section("__ksymtab"), obj.find_section(".kstrtab")
    if table is None:
        return {
            symbol.name
            for symbol in obj.symbols.values()
            if not symbol.undefined and symbol.binding != STB_LOCAL
        }
    if strings is None:
        return set()
    names = set()
    for relocation in table.relocations:
        if relocation.symbol.section == strings.index:
            names.add(cstring(bytes(strings.contents), relocation.symbol.value + relocation.addend))
    return {name.removeprefix("GPLONLY_") for name in names}


def resolve(modules: Sequence[Module], kernel: Iterable[str]) -> Found:
    """Who supplies what: the kernel, else the first module that does; names are compared without versions."""
    known = {bare(name, "") for name in kernel}
    suppliers: dict[str, str] = {}
    for module in modules:
        for name in module.defines:
            suppliers.setdefault(bare(name, ""), module.path)
    entries, unresolved = [], {}
    for module in modules:
        needs: list[str] = []
        missing = []
        for name in module.needs:
            plain = bare(name, "")
            if plain in known:
                continue
            supplier = suppliers.get(plain)
            if supplier is None:
                missing.append(name)
            elif supplier not in needs:
                needs.append(supplier)
        if missing:
            unresolved[module.path] = missing
        entries.append(conf.Entry(module.path, needs))
    return Found(entries, unresolved)


def dependencies(top: Path, root: str) -> list[conf.Entry]:
    """What modules.dep would say of a directory that the machine knows as `root`."""
    modules = [_read(file, f"{root}/{file.relative_to(top)}") for file in conf.module_files(top)]
    return resolve(modules, _kernel_symbols(None)).entries


def render(entries: Iterable[conf.Entry]) -> str:
    r"""modules.dep as text.

    >>> render([conf.Entry("/m/a.o", ["/m/b.o", "/m/c.o"]), conf.Entry("/m/b.o", [])])
    '/m/a.o:\t/m/b.o \\\n\t/m/c.o\n\n/m/b.o:\n\n'
    """
    texts = []
    for entry in entries:
        needs = " \\\n\t".join(entry.needs)
        texts.append(f"{entry.path}:" + (f"\t{needs}" if needs else "") + "\n\n")
    return "".join(texts)


def _kernel_symbols(path: str | None) -> list[str]:
    """Names that the kernel exports."""
    if path is None:
        return [symbol_name(text) for text in exports.declarations({**char_dev.EXPORTS, **kmod.EXPORTS})]
    try:
        lines = Path(path).read_text(errors="surrogateescape").splitlines()
    except OSError as error:
        raise ToolError(f"depmod: Can't read {path}: {error.strerror}") from None
    names = []
    for line in lines:
        words = line.split()
        if len(words) == 3 and len(words[1]) == 1:  # System.map: address, letter, name
            names.append(words[2].removeprefix("__ksymtab_"))
        elif len(words) >= 2:
            names.append(words[1])
    return names
