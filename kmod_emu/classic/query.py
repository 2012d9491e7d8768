"""What insmod knows of a running kernel: the modules, and what they and the kernel export."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.classic.structs import QM_REFS, QM_SYMBOLS, Info

if TYPE_CHECKING:
    from kmod_emu.classic.program import Program

Symbols = list[tuple[int, str]]  # value and name


class ModuleStat(NamedTuple):
    """One module."""

    name: str
    info: Info
    symbols: Symbols
    refs: list[str]


class KernelInfo(NamedTuple):
    """All modules, newest first, and the kernel's own symbols."""

    modules: list[ModuleStat]
    symbols: Symbols

    @property
    def versioned(self) -> int:
        """Whether the kernel's symbols have versions; what `Using_Versions` is."""
        return next((value for value, name in self.symbols if name == "Using_Versions"), 0)


async def kernel_info(program: Program, *, symbols: bool = True, refs: bool = False) -> KernelInfo:
    """Ask for everything (get_kernel_info of modutils)."""
    modules = [
        ModuleStat(
            name,
            await program.info(name),
            await program.symbols(name, QM_SYMBOLS) if symbols else [],
            await program.names(name, QM_REFS) if refs else [],
        )
        for name in await program.module_names()
    ]
    own = await program.symbols(None, QM_SYMBOLS) if symbols else []
    if symbols:
        program.tell(
            "classic_query", modules=[module.name for module in modules], kernel=len(own),
            others=sum(len(module.symbols) for module in modules),
        )  # fmt: skip
    return KernelInfo(modules, own)
