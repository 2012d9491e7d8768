"""Tables for notebooks, as HTML; whatever text a module brings along stays text."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def visible(text: str) -> str:
    r"""Characters that no page may hold as visible ones; surrogates, which no file may, too.

    >>> visible("a\x1b[31m")
    'a\\x1b[31m'
    """
    return "".join(
        c if c in "\t\n" or (c.isprintable() and not "\ud800" <= c <= "\udfff") else f"\\x{ord(c):02x}"
        for c in text
    )


def table(title: str, head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table with a caption; cells are any values, shown as text.

    >>> table("a & b", [], [["<", 1]])
    '<table><caption>a &amp; b</caption><tr><td>&lt;</td><td>1</td></tr></table>'
    """
    caption = f"<caption>{_text(title)}</caption>" if title else ""
    top = _row("th", head) if head else ""
    return f"<table>{caption}{top}{''.join(_row('td', row) for row in rows)}</table>"


def _row(tag: str, cells: Sequence[object]) -> str:
    return f"<tr>{''.join(f'<{tag}>{_text(cell)}</{tag}>' for cell in cells)}</tr>"


def _text(value: object) -> str:
    from html import escape

    return escape(visible(str(value)))
