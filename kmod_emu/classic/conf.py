"""Where modules are, as /etc/modules.conf says, and what names mean (modutils' util/config.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kmod_emu.classic.program import Program


def search(program: Program, name: str) -> str | None:
    """The object file of a module that is named without a path."""
    return None
