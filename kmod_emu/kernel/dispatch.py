"""Binding exports to traps: from a C call in the guest to a Python function and back.

Each handler is bound at boot to a trap slot; its decoder is made from the prototype at the first call, and
is then a closure with nothing left to decide. Arguments come from the argument page in one `unpack`.
"""

from __future__ import annotations

import struct
from functools import partial
from typing import TYPE_CHECKING, Any

from kmod_emu.abi.lists import ListCorruption
from kmod_emu.errors import KernelError, Killed
from kmod_emu.kernel.activation import Activation
from kmod_emu.kernel.exports import Convention, registered
from kmod_emu.kernel.layout import ARGUMENT_PAGE, TRAP_BASE, TRAP_SPACE
from kmod_emu.kernel.panic import confused
from kmod_emu.kernel.printf_spec import NotSupported
from kmod_emu.machine.memory import EXEC, PAGE_SIZE, READ, WRITE, PageFault
from kmod_emu.machine.traps import (
    AFTER,
    CALLER,
    FIRST_NUMBER,
    FORGET,
    FORGOTTEN,
    OFFSET,
    REGISTERS,
    RESULT,
    RETURN_NUMBER,
    SLOT_SIZE,
    TARGET,
    TrapArea,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.abi.prototypes import Prototype
    from kmod_emu.kernel.exports import Handler
    from kmod_emu.kernel.kernel import KernelCore

_MASK64 = (1 << 64) - 1
# What Python says of values that a caller must not give: the kernel would do something wild then.
CONFUSING: tuple[type[Exception], ...] = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError, RecursionError),
    *(TypeError, ValueError, struct.error, ListCorruption, NotSupported),
)
_ALL_REGISTERS = struct.Struct(f"<{len(REGISTERS)}Q")
_U64 = struct.Struct("<Q")
_CALLS = [struct.Struct(f"<{count}Q") for count in range(7)]  # by how many arguments are in registers
_CALL = struct.Struct(f"<{OFFSET['rsp']}xQ{CALLER - OFFSET['rsp'] - 8}xQ")
_FORGET = struct.Struct("<QQ")
_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE, without the cost of importing inspect


def is_coroutine(function: Callable[..., Any]) -> bool:
    """Whether it is declared `async`."""
    return bool(function.__code__.co_flags & _CO_COROUTINE)


class Registers:
    """The general registers of a call in the `REGISTERS` convention; what is assigned is loaded back."""

    __slots__ = ("_page",)

    def __init__(self, page: memoryview) -> None:
        self._page = page

    def __getitem__(self, name: str) -> int:
        return int(_U64.unpack_from(self._page, OFFSET[name])[0])

    def __setitem__(self, name: str, value: int) -> None:
        _U64.pack_into(self._page, OFFSET[name], value & _MASK64)


class Dispatcher:
    """The trap slots, and what each calls.

    Attributes:
        return_address: Where guest functions called by Python return to.
        call: Says what RSP was at the C call being handled, and where that returns to.
        around: What to call for a handler, asked at its next call: its function, or one that watches it.
    """

    def __init__(self, kernel: KernelCore, tails: bytes) -> None:
        self._kernel = kernel
        self._around: Callable[[Handler], Callable[..., Any]] = lambda handler: handler.function
        self._unprepared: dict[int, Callable[[], None]] = {}  # traps as they are before their first call
        self._area = TrapArea(TRAP_BASE, tails)
        memory = kernel.memory
        memory.protect(TRAP_BASE, TRAP_SPACE, READ | EXEC)
        memory.protect(ARGUMENT_PAGE, PAGE_SIZE, READ | WRITE)
        memory.write(TRAP_BASE, tails)
        self._page = memory.writable(ARGUMENT_PAGE, PAGE_SIZE)
        kernel.cpu.use_forgetter(self._area.forgetter, self._page[FORGOTTEN:])
        self.call: Callable[[], tuple[int, int]] = partial(_CALL.unpack_from, self._page)
        self.return_address = self._area.address(RETURN_NUMBER)
        self.spare_code = TRAP_BASE + TRAP_SPACE - SLOT_SIZE  # executable, used by no trap
        kernel.cpu.traps = [self._returned]

    @property
    def around(self) -> Callable[[Handler], Callable[..., Any]]:
        """See above."""
        return self._around

    @around.setter
    def around(self, around: Callable[[Handler], Callable[..., Any]]) -> None:
        self._around = around
        for number, first_call in self._unprepared.items():
            self._kernel.cpu.traps[number] = first_call

    def bind(self, handler: Handler) -> int:
        """Give a function its slot; returns the slot's address. Decoding is prepared at the first call."""
        (address,) = self.bind_all([handler])
        return address

    def bind_all(self, handlers: list[Handler]) -> list[int]:
        """Give functions slots behind each other, which are written at once."""
        first = self._area.address(len(self._kernel.cpu.traps))
        slots = [self._bind(handler) for handler in handlers]
        self._kernel.memory.write(first, b"".join(slots))
        return list(range(first, first + SLOT_SIZE * len(slots), SLOT_SIZE))

    def _bind(self, handler: Handler) -> bytes:
        traps = self._kernel.cpu.traps
        number = len(traps)
        assert number >= FIRST_NUMBER
        if (number + 64) * 16 > TRAP_SPACE:
            raise KernelError(28, "no trap slot is left for another export")

        def first_call() -> None:
            traps[number] = self._compile(handler)
            traps[number]()

        traps.append(first_call)
        self._unprepared[number] = first_call
        return self._area.slot(number, all_registers=handler.convention is Convention.REGISTERS)

    def begin_call(self, address: int, below: int, arguments: tuple[int, ...]) -> int:
        """Leave a C call of the guest's on the argument page and the stack below an address.

        Returns:
            Where the processor begins it.
        """
        values = [value & _MASK64 for value in arguments]
        page, memory = self._page, self._kernel.memory
        if len(values) > 6:
            on_stack = struct.pack(f"<{len(values) - 6}Q", *values[6:])
            del values[6:]
            below = below - len(on_stack) & ~15
            memory.write(below, on_stack)
        rsp = (below & ~15) - 8  # as at a function's first instruction
        memory.write_u64(rsp, self.return_address)
        _CALLS[len(values)].pack_into(page, 0, *values)
        _U64.pack_into(page, OFFSET["rsp"], rsp)
        _U64.pack_into(page, TARGET, address)
        return self._area.entry

    def holds(self, address: int) -> bool:
        """Whether an address is in a trap slot, or behind them all."""
        return TRAP_BASE <= address < TRAP_BASE + TRAP_SPACE

    @property
    def stack_pointer(self) -> int:
        """RSP at the call being handled: the return address is there."""
        return int(_U64.unpack_from(self._page, OFFSET["rsp"])[0])

    def forget_pages(self, address: int, size: int) -> None:
        """Pages are no longer what they were: no translation of theirs may be left when guest code goes on.

        During a call the way back from it sees to that, page by page; else all translations go.
        """
        page = self._page
        done, end = _FORGET.unpack_from(page, FORGET)
        if self._kernel.sched.in_guest and done >= end:
            _FORGET.pack_into(page, FORGET, address, address + size)
        else:
            self._kernel.memory.flush()

    def then_call(self, function: int) -> None:
        """From a plain handler: the guest calls a function with what it returns, for its effect."""
        _U64.pack_into(self._page, AFTER, function)

    def save_page(self) -> bytes:
        """What a call that was interrupted has on the argument page, where nobody else is to find it."""
        contents = bytes(self._page[: AFTER + 8])
        _U64.pack_into(self._page, AFTER, 0)
        return contents

    def restore_page(self, contents: bytes) -> None:
        """Put it back."""
        self._page[: len(contents)] = contents

    def _returned(self) -> None:
        value = _U64.unpack_from(self._page, OFFSET["rdi"])[0]
        if self._kernel.events:
            self._kernel.events.emit("guest_return", value=value)
        self._kernel.sched.returned(value)

    # --- closures -----------------------------------------------------------------------------------

    def _compile(self, handler: Handler) -> Callable[[], None]:
        if handler.convention is Convention.REGISTERS:
            return self._compile_registers(handler)
        from kmod_emu.abi import prototypes

        prototype = prototypes.parse(handler.declaration)
        arguments = self._argument_reader(handler, prototype)
        if is_coroutine(handler.function):
            return self._compile_async(handler, arguments)
        kernel, page, function, pack = self._kernel, self._page, self._around(handler), _U64.pack_into
        confusing = self._confusing(handler)

        def trap() -> None:
            try:
                pack(page, RESULT, (function(kernel, *arguments()) or 0) & _MASK64)
            except PageFault as fault:
                kernel.sched.faulted(fault)
            except Killed:
                raise
            except KernelError as error:
                pack(page, RESULT, -error.errno & _MASK64)
            except confusing as error:
                confused(kernel, handler.name, error)

        return trap

    @staticmethod
    def _confusing(handler: Handler) -> tuple[type[Exception], ...]:
        """What Python says of nonsense that a handler is given; who adds a handler hears of its own."""
        return CONFUSING if registered().get(handler.name) is handler else ()

    def _compile_registers(self, handler: Handler) -> Callable[[], None]:
        kernel, function, registers = self._kernel, self._around(handler), Registers(self._page)
        confusing = self._confusing(handler)

        def trap() -> None:
            try:
                function(kernel, registers)
            except PageFault as fault:
                kernel.sched.faulted(fault)
            except confusing as error:
                confused(kernel, handler.name, error)

        return trap

    def _compile_async(
        self, handler: Handler, arguments: Callable[[], tuple[Any, ...]]
    ) -> Callable[[], None]:
        """A coroutine runs inside the trap up to its first wait; most never wait."""
        kernel, page, function, pack = self._kernel, self._page, self._around(handler), _U64.pack_into

        confusing = self._confusing(handler)

        def deliver(result: Any) -> None:
            pack(page, RESULT, (result or 0) & _MASK64)

        def trap() -> None:
            stack = self.stack_pointer
            try:
                work = function(kernel, *arguments())
                request = work.send(None)
            except StopIteration as done:
                deliver(done.value)
            except PageFault as fault:
                kernel.sched.faulted(fault)
            except Killed:
                raise
            except KernelError as error:
                deliver(-error.errno)
            except confusing as error:
                confused(kernel, handler.name, error)
            else:
                kernel.sched.entered(Activation(work, stack, deliver, confusing), request)

        return trap

    def _argument_reader(self, handler: Handler, prototype: Prototype) -> Callable[[], tuple[Any, ...]]:
        """A function that decodes the arguments of the call being made."""
        page, unpack = self._page, struct.Struct(prototype.argument_format()).unpack_from
        memory = self._kernel.memory
        extra = struct.Struct("<" + "".join(p.type.format for p in prototype.stack_parameters))
        views = self._views(handler, prototype)
        if not views and not extra.size and not prototype.variadic:
            return partial(unpack, page)

        def read() -> tuple[Any, ...]:
            values = list(unpack(page))
            stack = self.stack_pointer + 8  # behind the return address
            if extra.size:
                values += extra.unpack(memory.read(stack, extra.size))
            for position, view in views:
                values[position] = view(values[position])
            if prototype.variadic:
                values.append(self._variadic(len(prototype.parameters), stack + extra.size))
            return tuple(values)

        return read

    def _variadic(self, fixed: int, stack: int) -> Any:
        from kmod_emu.kernel.vsprintf import RegisterArguments

        registers = struct.unpack_from("<6Q", self._page)
        return RegisterArguments(registers[fixed:], self._kernel.memory, stack)

    def _views(self, handler: Handler, prototype: Prototype) -> list[tuple[int, Callable[[int], Any]]]:
        """What to turn pointers into, by the annotations of the Python parameters."""
        code, annotations = handler.function.__code__, handler.function.__annotations__
        names = code.co_varnames[1 : 1 + len(prototype.parameters)]
        views: list[tuple[int, Callable[[int], Any]]] = []
        for position, name in enumerate(names):
            wanted = annotations.get(name, "int")
            wanted = getattr(wanted, "__name__", wanted)  # a type, where annotations are not kept as text
            if wanted == "str":
                views.append((position, self._text))
            elif wanted == "bytes":
                views.append((position, self._kernel.memory.read_cstring))
            elif wanted == "StructView":
                pointee = prototype.parameters[position].type.pointee or ""
                views.append((position, self._struct_view(pointee)))
        return views

    def _text(self, address: int) -> str:
        return self._kernel.memory.read_text(address)

    def _struct_view(self, pointee: str) -> Callable[[int], Any]:
        name = pointee.removeprefix("const ").removeprefix("struct ").strip()
        return lambda address: self._kernel.view(name, address)
