"""A module directory and its configuration, and the modules that names mean there (kmod 30, libkmod)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kmod_emu.kmod.aliases import normalize
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.fnmatch import fnmatch
from kmod_emu.kmod.index import Index

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from kmod_emu.kmod.config import Config

_Answer = TypeVar("_Answer")


class KmodModule:
    """A module as libkmod knows it, which need not exist.

    Attributes:
        name: With `_` for `-`.
        alias: What it was looked up by, if that was an alias.
        path: Of its file, None if modules.dep does not have it.
        builtin: Whether the kernel has it in itself, None while nobody has asked.
        required: It is what the user asked for or needed by that; errors with others do not count.
        ignore_command: It is to be loaded although there is an install command.
    """

    def __init__(self, context: Context, name: str, alias: str | None = None) -> None:
        self.name, self.alias = name, alias
        self.path: str | None = None
        self.builtin: bool | None = None
        self.visited = self.required = self.ignore_command = False
        self.commands: dict[str, str] = {}  # "install" and "remove", where the name was found among those
        self._context = context
        self._deps: list[KmodModule] | None = None
        self.looked_up = False  # its line of modules.dep was read

    def dependencies(self) -> list[KmodModule]:
        """What has to be loaded first, in that order."""
        if self._deps is None:
            self._context.read_line(self)
        return self._deps or []

    def set_dependencies(self, deps: list[KmodModule]) -> None:
        """What its line of modules.dep says."""
        self._deps = deps

    def find_path(self) -> str | None:
        """Its file."""
        if self.path is None and not self.looked_up:
            self._context.read_line(self)
        return self.path

    def is_builtin(self) -> bool:
        """Whether the kernel has it in itself."""
        if self.builtin is None:
            self.builtin = self._context.search("modules.builtin", self.name) is not None
        return self.builtin

    @property
    def options(self) -> str:
        """What the configuration passes to it."""
        names = (self.name, self.alias)
        return " ".join(text for name, text in self._context.config.options if name in names and text)

    @property
    def install_command(self) -> str | None:
        """What the configuration wants run instead of loading it."""
        return self._command("install", self._context.config.install)

    @property
    def remove_command(self) -> str | None:
        """What the configuration wants run instead of removing it."""
        return self._command("remove", self._context.config.remove)

    @property
    def blacklisted(self) -> bool:
        """Whether the configuration has it on the blacklist."""
        return self.name in self._context.config.blacklist

    def softdeps(self) -> tuple[list[KmodModule], list[KmodModule]]:
        """What the configuration wants loaded before and after it."""
        for softdep in self._context.config.softdeps:
            if matches(softdep.name, self.name):
                return self._context.lookup_softdeps(softdep.pre), self._context.lookup_softdeps(softdep.post)
        return [], []

    def _command(self, kind: str, commands: list[tuple[str, str]]) -> str | None:
        found = (command for name, command in commands if matches(name, self.name))
        return self.commands.get(kind) or next(found, None)


class Context:
    """A module directory with its configuration.

    Args:
        directory: The module directory; paths of modules begin with it.
        config: What modprobe.d says.
        error: Takes libkmod's messages: line and function in its source, text.
    """

    def __init__(self, directory: str, config: Config, error: Callable[[str, str], object]) -> None:
        self.directory = directory
        self.config = config
        self._error = error
        self._indexes: dict[str, Index | None] = {}
        self._pool: dict[tuple[str, str | None], KmodModule] = {}

    # --- looking names up ---------------------------------------------------------------------------

    def lookup(self, name: str) -> list[KmodModule] | None:
        """What a name or alias means, from the first place that knows it; None for a bad alias."""
        normal = normalize(os.fsencode(name))
        if normal is None:
            return None
        alias = os.fsdecode(normal)
        for place in (
            self._from_config,
            self._from_dep,
            self._from_symbols,
            self._from_commands,
            self._from_aliases,
            self._from_builtin,
            self._from_builtin_aliases,
        ):
            found = list(place(alias))
            if found:
                return found
        return []

    def lookup_name(self, name: str) -> KmodModule | None:
        """The module of that name, which is no alias."""
        normal = _stem(name).replace("-", "_")
        for place in (self._from_dep, self._from_builtin, self._from_builtin_aliases):
            found = next(place(normal), None)
            if found is not None:
                return found
        return None

    def lookup_softdeps(self, names: list[str]) -> list[KmodModule]:
        """The modules that soft dependencies mean."""
        found = []
        for name in names:
            modules = self.lookup(name)
            if modules is None:
                said = f"failed to lookup soft dependency '{name}', continuing anyway."
                self._error("1567 lookup_softdep()", said)
            found += modules or []
        return found

    def forget(self) -> None:
        """Forget the modules met so far, with what was found out about them."""
        self._pool.clear()

    def modules(self) -> list[KmodModule]:
        """The modules met so far."""
        return list(self._pool.values())

    def module(self, name: str, alias: str | None = None) -> KmodModule:
        """The module of a name; looked up by an alias it is one of its own."""
        return self._pool.setdefault((name, alias), KmodModule(self, name, alias))

    def _from_config(self, alias: str) -> Iterator[KmodModule]:
        for pattern, target in self.config.aliases:
            if matches(pattern, alias):
                yield self.module(target, pattern)

    def _from_dep(self, alias: str) -> Iterator[KmodModule]:
        if ":" not in alias and self.search("modules.dep", alias) is not None:
            module = self.module(_stem(alias))
            self.read_line(module, alias)
            yield module

    def _from_symbols(self, alias: str) -> Iterator[KmodModule]:
        if alias.startswith("symbol:"):
            yield from self._from_index("modules.symbols", alias)

    def _from_commands(self, alias: str) -> Iterator[KmodModule]:
        for kind, commands in (("install", self.config.install), ("remove", self.config.remove)):
            for name, command in commands:
                if name == alias:
                    module = self.module(_stem(alias))
                    module.commands[kind] = command
                    yield module
                    return

    def _from_aliases(self, alias: str) -> Iterator[KmodModule]:
        yield from self._from_index("modules.alias", alias)

    def _from_builtin(self, alias: str) -> Iterator[KmodModule]:
        if self.search("modules.builtin", alias) is not None:
            module = self.module(_stem(alias))
            module.builtin = True
            yield module

    def _from_builtin_aliases(self, alias: str) -> Iterator[KmodModule]:
        for module in self._from_index("modules.builtin.alias", alias):
            module.builtin = True
            yield module

    def _from_index(self, name: str, alias: str) -> Iterator[KmodModule]:
        for target in self._ask(name, lambda index: index.searchwild(os.fsencode(alias))) or ():
            yield self.module(os.fsdecode(target), alias)

    # --- indexes ------------------------------------------------------------------------------------------

    def search(self, name: str, key: str) -> str | None:
        """What an index has for a key."""
        value = self._ask(name, lambda index: index.search(os.fsencode(key)))
        return None if value is None else os.fsdecode(value)

    def dump(self, name: str) -> str:
        """An index as `modprobe -c` prints it."""
        entries = self._ask(name, lambda index: list(index.entries())) or ()
        return "".join(f"alias {os.fsdecode(key)} {os.fsdecode(value)}\n" for key, value in entries)

    def _ask(self, name: str, question: Callable[[Index], _Answer]) -> _Answer | None:
        """An index's answer, None without the index.

        Raises:
            ToolError: It is damaged; kmod would follow whatever pointers it finds there.
        """
        index = self._index(name)
        try:
            return None if index is None else question(index)
        except ValueError as error:
            raise ToolError(f"kmod-emu: {self.directory}/{name}.bin is damaged: {error}") from None

    def _index(self, name: str) -> Index | None:
        if name not in self._indexes:
            try:
                self._indexes[name] = Index(Path(f"{self.directory}/{name}.bin").read_bytes())
            except (OSError, ValueError):
                self._indexes[name] = None
        return self._indexes[name]

    def read_line(self, module: KmodModule, key: str | None = None) -> None:
        """Read a module's line of modules.dep: its path and what it needs, nearest need last."""
        if module.looked_up:
            return
        line = self.search("modules.dep", key or module.name)
        if line is None:
            return
        path, colon, needs = line.partition(":")
        module.looked_up = True
        if not colon:
            return
        module.path = module.path or self._join(path)
        deps: list[KmodModule] = []
        for need in needs.split():
            dep = self._from_path(self._join(need))
            if dep is None:
                module.looked_up = False
                return
            deps.insert(0, dep)
        module.set_dependencies(deps)

    def _from_path(self, path: str) -> KmodModule | None:
        try:
            os.stat(path)
        except OSError as failure:
            said = f"ctx={id(self):#x} path={path} error={failure.strerror}"
            self._error("191 kmod_module_parse_depline()", said)
            return None
        module = self.module(_stem(os.path.basename(path)).replace("-", "_"))
        module.path = module.path or path
        module.builtin = False
        return module

    def _join(self, path: str) -> str:
        return path if path.startswith("/") else f"{self.directory}/{path}"


def matches(pattern: str, text: str) -> bool:
    """fnmatch(3)."""
    return fnmatch(os.fsencode(pattern), os.fsencode(text))


def _stem(name: str) -> str:
    """A module's name ends at a dot."""
    return name.partition(".")[0]
