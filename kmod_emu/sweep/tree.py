"""The modules of a module directory, each with what it needs, as modules.dep has them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.files import module_name

if TYPE_CHECKING:
    from collections.abc import Sequence

_WRONG = 2


class Target(NamedTuple):
    """One module to load.

    Attributes:
        path: Of its file, as in modules.dep.
        file: The same on this computer.
        needs: Files to load before it, in that order.
    """

    path: str
    file: str
    needs: list[str]

    @property
    def name(self) -> str:
        """The module's name."""
        return module_name(self.path)


def read_tree(directory: str) -> list[Target]:
    """The modules in the order of modules.dep.

    Raises:
        ToolError: There is no such file.
    """
    path = os.path.join(directory, "modules.dep")
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as lines:
            parts = [line.rstrip("\n").partition(":") for line in lines if ":" in line]
    except OSError as error:
        raise ToolError(f"kmod-emu: {path}: {error.strerror}; depmod writes it", _WRONG) from None

    def join(name: str) -> str:
        return os.path.join(directory, name)

    return [
        Target(name, join(name), [join(need) for need in needs.split()[::-1]]) for name, _, needs in parts
    ]


def with_softdeps(targets: list[Target], directory: str) -> list[Target]:
    """The same modules with all that modprobe loads before each of them: soft dependencies, too.

    Raises:
        ToolError: There is no index of the modules.
    """
    from kmod_emu.kmod.config import read_config
    from kmod_emu.kmod.context import Context
    from kmod_emu.kmod.probe import steps

    context = Context(directory, read_config(directory, (), "", lambda text: None), lambda where, text: None)
    found = []
    for target in targets:
        module = context.lookup_name(target.name)
        if module is None:  # modules.dep has it
            raise ToolError(f"kmod-emu: {directory}/modules.dep.bin: no such index; depmod writes it", _WRONG)
        order = steps(context, module)
        files = {path: None for step in order[: order.index(module)] if (path := step.find_path())}
        found.append(target._replace(needs=list(files)))
    return found


def choose(targets: list[Target], names: Sequence[str]) -> list[Target]:
    """The modules of these names, or all.

    Raises:
        ToolError: There is none of a name.
    """
    wanted = {module_name(name) for name in names}
    unknown = wanted - {target.name for target in targets}
    if unknown:
        raise ToolError(f"kmod-emu: modules.dep has no module {', '.join(sorted(unknown))}", _WRONG)
    return [target for target in targets if not wanted or target.name in wanted]
