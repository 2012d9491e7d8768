"""The words of a C expression."""

from __future__ import annotations

import re
from typing import NamedTuple

from kmod_emu.debug.c.values import DebugError

__all__ = ["Token", "tokenize", "unescape"]

_PATTERN = re.compile(
    r"""(?P<space>\s+)
    | (?P<float>(?:\d+\.\d*|\.\d+)(?:[eE][-+]?\d+)?[fFlL]?(?![\w.]) | \d+[eE][-+]?\d+[fFlL]?(?![\w.]))
    | (?P<number>\d\w*)
    | (?P<name>[A-Za-z_]\w*)
    | (?P<variable>\$[\w$]*)
    | (?P<char>'(?:\\.|[^'\\])*')
    | (?P<string>"(?:\\.|[^"\\])*")
    | (?P<operator><<=|>>=|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||::|[-+*/%&|^]=|[-+*/%&|^~!<>=?:.,()\[\]{}@])
    """,
    re.VERBOSE,
)
_ESCAPES = {"n": 10, "t": 9, "r": 13, "a": 7, "b": 8, "f": 12, "v": 11, "e": 27}
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|x([0-9a-fA-F]+)|(.))", re.DOTALL)


class Token(NamedTuple):
    """One word.

    Attributes:
        kind: "float", "number", "name", "variable", "char", "string" or "operator"; "end" after the last.
        start: Where it stands in the text.
    """

    kind: str
    text: str
    start: int


def tokenize(text: str) -> list[Token]:
    """The words of an expression, and an end.

    Raises:
        DebugError: What stands there is none.

    >>> [token.text for token in tokenize("p->next[1]")]
    ['p', '->', 'next', '[', '1', ']', '']
    """
    tokens, place = [], 0
    while place < len(text):
        match = _PATTERN.match(text, place)
        if match is None:
            raise DebugError(_unmatched(text[place:]))
        if match.lastgroup != "space":
            tokens.append(Token(str(match.lastgroup), match.group(), place))
        place = match.end()
    return [*tokens, Token("end", "", len(text))]


def _unmatched(rest: str) -> str:
    if rest[0] == "'":
        return "Unmatched single quote."
    if rest[0] == '"':
        return "Unterminated string in expression."
    return f"Invalid character '{rest[0]}' in expression."


def unescape(text: str) -> bytes:
    r"""The bytes of a character or string literal without its quotes.

    >>> unescape(r"a\n\101\x41")
    b'a\nAA'
    """

    def replace(match: re.Match[bytes]) -> bytes:
        octal, hexadecimal, letter = match.groups()
        if octal is not None:
            return bytes([int(octal, 8) & 0xFF])
        if hexadecimal is not None:
            return bytes([int(hexadecimal, 16) & 0xFF])
        code = _ESCAPES.get(letter.decode("latin-1"))
        return letter if code is None else bytes([code])

    return _ESCAPE.sub(replace, text.encode())
