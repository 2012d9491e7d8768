"""Options that no command gets itself: whoever makes its machine asks what was given."""

from __future__ import annotations

from typing import Any

import click


def keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """The callback of such an option, which has `expose_value=False`."""
    ctx.meta[f"{__name__}.{param.name}"] = value


def given(option: str) -> Any:
    """What the command that runs was told by an option, by its parameter's name; None if it has none such."""
    ctx = click.get_current_context(silent=True)
    return ctx.meta.get(f"{__name__}.{option}") if ctx else None
