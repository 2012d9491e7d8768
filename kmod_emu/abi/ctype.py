"""C types as a call passes and returns them, on x86-64."""

from __future__ import annotations

from functools import cache
from typing import Literal, NamedTuple

from kmod_emu.abi.typedefs import INTEGERS, POINTERS, STRUCTS, is_function_pointer, names

__all__ = [
    "CType",
    "function_pointer",
    "is_name",
    "is_whole",
    "pointer_to",
    "read_type",
    "type_text",
    "words",
]

_FORMATS = {
    (1, False): "B7x",
    (1, True): "b7x",
    (2, False): "H6x",
    (2, True): "h6x",
    (4, False): "I4x",
    (4, True): "i4x",
    (8, False): "Q",
    (8, True): "q",
}
_C_WORDS = names("char short int long signed unsigned")
_TAGS = names("struct union enum")
# Part of a type's text, without effect on how the value travels.
_QUALIFIERS = names(
    "const volatile restrict __restrict __user __percpu __iomem __rcu __force __kernel __bitwise"
)
# About the function or for a checker: dropped.
_ATTRIBUTES = names(
    "extern static inline __inline __always_inline noinline asmlinkage register __must_check __init __exit "
    "__cold __sched __weak notrace noinstr __pure __attribute_const__ __malloc __visible __maybe_unused "
    "__deprecated __noreturn __nocast __latent_entropy __meminit __ref __lockfunc __fix_address"
)


class CType(NamedTuple):
    """A type as it is passed or returned.

    Attributes:
        text: The type in C, spaced uniformly.
        size: Bytes; 0 for void.
        signed: Whether an integer is signed.
        kind: What it is to a handler.
        pointee: For a pointer, the type it points to, unqualified; None where the typedef hides it.
        is_text: `const char *` in kernel memory: a NUL-terminated string.
        user: A pointer to user memory.
    """

    text: str
    size: int
    signed: bool
    kind: Literal["void", "int", "bool", "pointer"]
    pointee: str | None = None
    is_text: bool = False
    user: bool = False

    @property
    def format(self) -> str:
        """The `struct` format, without byte order, that reads this type from an 8-byte slot.

        >>> read_type("int").format
        'i4x'
        """
        return "?7x" if self.kind == "bool" else _FORMATS[self.size, self.signed]

    def declare(self, name: str) -> str:
        """The C declaration of a variable of this type; the type alone for an empty name.

        >>> function_pointer("int", "*", "(void *)").declare("work")
        'int (*work)(void *)'
        """
        if "(*" in self.text:
            stars, rest = self.text.split(")", 1)
            return f"{stars}{name}){rest}"
        return self.text + name if self.text.endswith("*") or not name else f"{self.text} {name}"


def words(text: str) -> list[str]:
    """The words and stars of a declaration, without attributes.

    >>> words("extern const char  *name")
    ['const', 'char', '*', 'name']
    """
    return [word for word in text.replace("*", " * ").split() if word not in _ATTRIBUTES]


def type_text(parts: list[str]) -> str:
    """A type's words as C text, spaced uniformly.

    >>> type_text(["char", "*", "*", "const", "*"])
    'char ** const *'
    """
    text = " ".join(parts)
    while "* *" in text:
        text = text.replace("* *", "**")
    return text


def is_name(word: str) -> bool:
    """Whether a word can be the name of a parameter or function."""
    return (
        word.isidentifier()
        and word.isascii()
        and word not in _C_WORDS
        and word not in _QUALIFIERS
        and word not in _TAGS
    )


def is_whole(parts: list[str]) -> bool:
    """Whether words are a whole type, so that a word after them is a name."""
    plain = [word for word in parts if word not in _QUALIFIERS]
    return bool(plain) and (plain[-1] == "*" or _is_base(plain))


def _is_base(base: list[str]) -> bool:
    """Whether words, without qualifiers and stars, are the form of one type, known or not."""
    if len(base) == 1:
        return is_name(base[0]) or base[0] in _C_WORDS
    if len(base) == 2 and base[0] in _TAGS:
        return is_name(base[1])
    return bool(base) and _C_WORDS.issuperset(base)


@cache
def read_type(text: str) -> CType:
    """The type of words separated by spaces, without attributes.

    Raises:
        ValueError: It is not a type, or not one that is known to travel in a register.

    >>> read_type("const char __user *")[4:]
    ('char', False, True)
    """
    parts = text.split()
    if "*" in parts:
        return _pointer(parts)
    spaced = " ".join(parts)
    base = [word for word in parts if word not in _QUALIFIERS]
    name = " ".join(base)
    if name == "void":
        return CType(spaced, 0, False, "void")
    if name in {"bool", "_Bool"}:
        return CType(spaced, 1, False, "bool")
    size, signed = _integer(base, name)
    if size:
        return CType(spaced, size, signed, "int")
    if name in POINTERS or is_function_pointer(name):
        return CType(spaced, 8, False, "pointer")
    if base and base[0] in {"struct", "union"}:
        raise ValueError(f"{name} by value cannot be passed in a register")
    raise ValueError(f"unknown type {name!r}")


def pointer_to(parts: list[str]) -> CType:
    """A pointer to the type of these words."""
    return read_type(" ".join([*parts, "*"]))


def _pointer(parts: list[str]) -> CType:
    last = len(parts) - 1 - parts[::-1].index("*")
    target = parts[:last]
    plain = [word for word in target if word not in _QUALIFIERS]
    if not _is_base([word for word in plain if word != "*"]) or not _QUALIFIERS.issuperset(parts[last + 1 :]):
        raise ValueError(f"{type_text(parts)!r} does not point to a type")
    # Qualifiers of what this pointer points to stand after the star before it.
    own = target[len(target) - target[::-1].index("*") :] if "*" in target else target
    user = "__user" in own
    is_text = plain == ["char"] and "const" in target and not user
    return CType(type_text(parts), 8, False, "pointer", type_text(plain), is_text, user)


@cache
def function_pointer(returns: str, stars: str, arguments: str) -> CType:
    """The type `returns (*)(arguments)`; what the function takes is not examined."""
    arguments = " ".join(arguments.split()).replace("( ", "(").replace(" )", ")")
    gap = "" if returns.endswith("*") else " "
    pointee = f"{returns}{gap}{arguments}" if stars == "*" else f"{returns} ({stars[1:]}){arguments}"
    return CType(f"{returns} ({stars}){arguments}", 8, False, "pointer", pointee)


def _integer(base: list[str], name: str) -> tuple[int, bool]:
    """Size and sign of an integer type; size 0 if it is none that is known."""
    if name in INTEGERS:
        return INTEGERS[name]
    if name in STRUCTS:
        return STRUCTS[name], False
    if len(base) == 2 and base[0] == "enum":
        return 4, True
    if name.startswith("__kernel_"):
        return INTEGERS.get(name.removeprefix("__kernel_"), (0, False))
    if not base or not _C_WORDS.issuperset(base):
        return 0, False
    signed = "unsigned" not in base
    if "char" in base:
        return 1, signed
    if "short" in base:
        return 2, signed
    return (8 if "long" in base else 4), signed
