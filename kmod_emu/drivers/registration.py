"""What modules make known to the kernel by one call and take back by another, declared as data.

A `Family` is a row: both prototypes, what no two of them may share, and what a second one is answered. The
rows are in `families/`, a file for each part of the kernel. That something is registered is imitated: it is
counted, shown where the kernel shows it, refused as the kernel refuses it, and missed at rmmod. What it is
registered for, being called one day, is not: `Fidelity.REGISTRATION`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from kmod_emu.kernel.kernel import KernelCore

    Check = Callable[[KernelCore, int], int]  # (kernel, address) -> 0 or a negative errno


class Family(NamedTuple):
    """A kind of thing that modules register.

    Attributes:
        kind: As a sentence has it behind a number: "file system".
        register: Prototype of the function that makes one known.
        unregister: Of the one that takes it back; "" if there is none.
        unique: What tells two apart, "struct.member": a text or number; "" is the address.
        taken: What a second one is answered; 0: nobody looks.
        absent: What taking back something else is answered.
        own: What the kernel has itself: names or numbers that are taken.
        at: Which argument points to it, or to the first of many, of all functions.
        check: Looks at it before anything else.
        many: Likewise both for an array and then its length; the structures lie behind each other.
        stride: Name of that structure.
        says: Lines of the log at coming and going, with the level as `<6>`; {} is what tells it apart.
        called: Names for these lines, where it is a number.
        taken_says: Likewise a line, with its level, for one that is refused because it is there.
        after: What else happens when it is known.
    """

    kind: str
    register: str
    unregister: str = ""
    unique: str = ""
    taken: int = errno.EEXIST
    absent: int = 0
    own: tuple[str | int, ...] = ()
    at: int = 0
    check: Check | None = None
    many: tuple[str, str] = ("", "")
    stride: str = ""
    says: tuple[str, str] = ("", "")
    called: Sequence[str] = ()
    taken_says: str = ""
    after: Callable[[KernelCore, int], None] | None = None


_families: dict[str, Family] = {}  # filled while modules are imported, constant afterwards


def families() -> dict[str, Family]:
    """All rows, by kind."""
    return _families


class Registrations:
    """What is registered now: by kind, what tells each apart and its address, oldest first."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self._known: dict[str, dict[int, str | int]] = {}
        kernel.counted["registrations"] = self.__len__

    def __len__(self) -> int:
        return sum(map(len, self._known.values()))

    def of(self, kind: str) -> Iterator[tuple[int, str | int]]:
        """Addresses of a kind's structures, each with what tells it apart."""
        yield from self._known.get(kind, {}).items()

    def find(self, kind: str, name: str | int) -> int:
        """The one of that name or number, 0 for none."""
        return next((address for address, known in self.of(kind) if known == name), 0)

    def has(self, kind: str, address: int) -> bool:
        """Whether a structure of a kind is registered."""
        return address in self._known.get(kind, ())

    def add(self, family: Family, address: int) -> int:
        """Make something known: 0 or a negative errno."""
        if family.check is not None and (error := family.check(self._kernel, address)):
            return error
        name = member(self._kernel, family.unique, address) if family.unique else address
        if error := self.put(family.kind, address, name, family.own, family.taken):
            self._say(family, family.taken_says, name)
            return error
        self._say(family, family.says[0], name)
        if family.after is not None:
            family.after(self._kernel, address)
        return 0

    def put(self, kind: str, address: int, name: str | int, own: Sequence[str | int], taken: int) -> int:
        """Keep it, unless its address or name is there: then the answer is -`taken`, if that is not 0."""
        known = self._known.setdefault(kind, {})
        if taken and (address in known or name in known.values() or name in own):
            return -taken
        known[address] = name
        return 0

    def remove(self, family: Family, address: int) -> int:
        """Forget it: 0 or a negative errno."""
        name = self._known.get(family.kind, {}).pop(address, None)
        if name is None:
            return -family.absent
        self._say(family, family.says[1], name)
        return 0

    def _say(self, family: Family, text: str, name: str | int) -> None:
        if text:
            called = family.called[name] if family.called and isinstance(name, int) else name
            self._kernel.printk.emit(f"{text[3:].format(called)}\n", int(text[1]))

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {kind: list(known.items()) for kind, known in self._known.items()}

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self._known = {kind: dict(known) for kind, known in state.items()}


def member(kernel: KernelCore, path: str, address: int) -> str | int:
    """A member of a structure, "struct.member": a number, or the text that is there or that it points to."""
    struct, _, name = path.partition(".")
    view = kernel.view(struct, address)
    size = view.layout.members[name].size
    if size in (1, 2, 4):
        return view.get(name)
    if size != 8:
        return view.text(name)
    text = view.get(name)
    return kernel.memory.read_text(text) if text else ""


def declare(module: str, *rows: Family) -> None:
    """Make the functions of these rows exports, which count as functions of the module that declares them."""
    for family in rows:
        _families[family.kind] = family
        functions = [*_declare_one(family), *(_declare_many(family) if family.many[0] else ())]
        for function in functions:
            function.__module__ = module


def _declare_one(family: Family) -> Iterator[Callable[..., Any]]:
    at = family.at

    @export(family.register, Fidelity.REGISTRATION)
    def register(kernel: KernelCore, *arguments: int) -> int:
        """Made known; what it is for is not imitated."""
        return kernel[Registrations].add(family, arguments[at])

    yield register
    if family.unregister:

        @export(family.unregister, Fidelity.REGISTRATION)
        def unregister(kernel: KernelCore, *arguments: int) -> int:
            """Taken back."""
            return kernel[Registrations].remove(family, arguments[at])

        yield unregister


def _declare_many(family: Family) -> Iterator[Callable[..., Any]]:
    def addresses(kernel: KernelCore, arguments: tuple[int, ...]) -> range:
        return kernel.array(family.stride, arguments[family.at], arguments[family.at + 1])

    @export(family.many[0], Fidelity.REGISTRATION)
    def register_many(kernel: KernelCore, *arguments: int) -> int:
        """An array of them: all, or none."""
        done: list[int] = []
        for address in addresses(kernel, arguments):
            if error := kernel[Registrations].add(family, address):
                for before in reversed(done):
                    kernel[Registrations].remove(family, before)
                return error
            done.append(address)
        return 0

    @export(family.many[1], Fidelity.REGISTRATION)
    def unregister_many(kernel: KernelCore, *arguments: int) -> None:
        """All of an array, the last first."""
        for address in reversed(addresses(kernel, arguments)):
            kernel[Registrations].remove(family, address)

    yield from (register_many, unregister_many)


def required(struct: str, *members: str, error: int = errno.EINVAL) -> Check:
    """A check: these members are not NULL."""

    def check(kernel: KernelCore, address: int) -> int:
        view = kernel.view(struct, address)
        return 0 if all(view.get(name) for name in members) else -error

    return check


def refused(kernel: KernelCore, text: str, error: int, level: int = 3) -> int:
    """A line in the log, and the negative errno that goes with it."""
    kernel.printk.emit(f"{text}\n", level)
    return -error
