"""Templates of pages: whatever text a module brings along stays text."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

from kmod_emu.html import visible

if TYPE_CHECKING:
    import jinja2


def environment(folder: str) -> jinja2.Environment:
    """What fills the templates in a folder of the package."""
    import jinja2

    files = resources.files("kmod_emu") / folder
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (files / name).read_text(encoding="utf-8")),
        autoescape=True,
        trim_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=_harmless,
    )


def _harmless(value: object) -> object:
    """Text that any page may hold; Markup has been made from it."""
    return visible(value) if type(value) is str else value
