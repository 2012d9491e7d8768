"""What names mean in a frame: locals, globals, functions, registers, gdb's history and own variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from kmod_emu.debug.c import types as c
from kmod_emu.debug.c.evaluate import Environment, Evaluator
from kmod_emu.debug.c.show import Printer
from kmod_emu.debug.c.values import DebugError, Value, encode
from kmod_emu.debug.dwarf.dies import number_of, ranges_of
from kmod_emu.debug.dwarf.expression import Kind, Unavailable, evaluate
from kmod_emu.debug.registers import find_register

if TYPE_CHECKING:
    from collections.abc import Callable

    from elftools.dwarf.die import DIE

    from kmod_emu.debug.c.parser import Node
    from kmod_emu.debug.c.values import MemoryAccess
    from kmod_emu.debug.dwarf.info import DebugInfo
    from kmod_emu.debug.frames import Frame
    from kmod_emu.debug.program import Program

__all__ = ["NO_DEBUG_INFO", "Names"]

NO_DEBUG_INFO = c.Typedef("<text variable, no debug info>", c.Function(c.INT, None))


class Names(Environment):
    """What a command's expression refers to.

    Attributes:
        frame: Where locals are looked for; None outside of all functions.
        history: Values that `print` has numbered, from $1.
        convenience: Variables that the user made up, without their `$`.
        call_guest: Calls a guest function: address and arguments; bytes are passed by their address.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.frame: Frame | None = None
        self.history: list[Value] = []
        self.convenience: dict[str, Value] = {}
        self.call_guest: Callable[[int, list[int | bytes]], int] | None = None
        self.evaluator = Evaluator(self)
        self.printer = Printer(program.symbol, self.evaluator.complete)

    @property
    def memory(self) -> MemoryAccess:
        """Guest memory."""
        return self.program.memory

    def evaluate(self, text: str) -> Value:
        """The value of an expression; DebugError in gdb's words."""
        return self.evaluator.evaluate(text)

    def check(self, node: Node) -> None:
        """Refuse an expression with names that mean nothing, without computing it."""
        if node.op == "name" and self.variable(node.text) is None:
            raise DebugError(f'No symbol "{node.text}" in current context.')
        for part in node.parts:
            self.check(part)

    def set_number(self, name: str, number: int) -> None:
        """Set a convenience variable to an integer."""
        self.convenience[name] = Value.of(c.INT, number)

    def record(self, value: Value) -> int:
        """Keep a value in the history; its number."""
        if not isinstance(value.bare, c.Void) and not value.lost and value.bare.size < 1 << 16:
            _ = value.content  # it stays what it was
        self.history.append(value)
        return len(self.history)

    # --- Environment ----------------------------------------------------------------------------------

    def type_named(self, key: str) -> c.CType | None:
        """A type, as the frame's module has it if it does."""
        if self.frame is not None and self.frame.info is not None:
            found = self.frame.info.type_named(key)
            if found is not None and not (isinstance(found, c.Aggregate) and not found.complete):
                return found
        return self.program.type_named(key)

    def variable(self, name: str) -> Value | None:
        """A local, a global, a function, a constant, or a symbol without debug information."""
        if self.frame is not None:
            found = self.frame.find(name)
            if found is not None:
                return found
        for info in self._infos():
            found = self._global(info, name)
            if found is not None:
                return found
        address = self.program.address_of(name)
        if address is None:
            return None
        if self.program.is_code(address):
            known = self.program.prototype(name)
            return Value(known[0] if known else NO_DEBUG_INFO, address=address, memory=self.memory)
        return Value(c.Unknown(), address=address, memory=self.memory)

    def _infos(self) -> list[DebugInfo]:
        first = self.frame.info if self.frame is not None else None
        return ([first] if first else []) + [info for info in self.program.infos if info is not first]

    def _global(self, info: DebugInfo, name: str) -> Value | None:
        die = info.variable(name)
        if die is not None and "DW_AT_location" in die.attributes:
            return self._placed(info, die)
        for function in info.functions.get(name, []):
            ranges = ranges_of(function)
            if ranges:
                return Value(info.types.read(function), address=ranges[0][0], memory=self.memory)
        if die is not None and "DW_AT_declaration" not in die.attributes:
            return self._without_place(info, die)
        constant = info.enumerators.get(name)
        if constant is not None:
            kind = info.types.read(constant[1])
            return Value(kind, encode(kind, constant[0]))
        return None

    def _without_place(self, info: DebugInfo, die: DIE) -> Value:
        """A variable that the compiler made a constant, or nothing."""
        kind = info.types.type_of(die)
        if "DW_AT_const_value" in die.attributes:
            return Value(kind, encode(kind, number_of(die, "DW_AT_const_value")), memory=self.memory)
        return Value(kind, lost="optimized out")

    def _placed(self, info: DebugInfo, die: DIE) -> Value:
        kind = info.types.type_of(die)
        operations = info.operations(die, "DW_AT_location", 0)
        try:
            place = evaluate(operations or [], _Nowhere())
        except Unavailable:
            return Value(kind, lost="optimized out")
        if place.kind is not Kind.MEMORY:
            return Value(kind, lost="optimized out")
        return Value(kind, address=place.number, memory=self.memory)

    def dollar(self, name: str) -> Value | None:
        """`$rax`, `$1`, `$`, `$$2`, or what the user set."""
        if not name or name.strip("$").isdigit() or not name.strip("$"):
            return self._historic(name)
        register = find_register(self.frame, name)
        if register is not None:
            return register
        if name in self.convenience:
            return self.convenience[name]
        return self.dollar_call(name, []) if name == "lx_current" else None

    def dollar_call(self, name: str, arguments: list[Value]) -> Value | None:
        """The functions of gdb's scripts for the kernel: they give a structure in memory."""
        kernel = self.program.kernel
        if name == "lx_current" and not arguments:
            return self._structure("task_struct", kernel.sched.current.address)
        if name == "lx_task_by_pid" and len(arguments) == 1:
            task = kernel.tasks.by_pid.get(arguments[0].integer())
            if task is None:
                raise DebugError(f"No task of PID {arguments[0].integer()}")
            return self._structure("task_struct", task.address)
        if name == "lx_module" and len(arguments) == 1:
            wanted = arguments[0].content.partition(b"\0")[0].decode("utf-8", "replace")
            module = next((module for module in self.program.modules if module.name == wanted), None)
            if module is None:
                raise DebugError(f"Unable to find MODULE {wanted}")
            return self._structure("module", module.address)
        return None

    def _structure(self, tag: str, address: int) -> Value:
        kind = self.type_named(f"struct {tag}")
        if kind is None:
            raise DebugError(f"No struct type named {tag}.")
        return Value(kind, address=address, memory=self.memory)

    def _historic(self, name: str) -> Value | None:
        count = len(self.history)
        if name.startswith("$"):
            back = int(name[1:] or 1)
            if back >= count:
                raise DebugError(f"History does not go back to $${back}.")
            return self.history[count - 1 - back]
        number = int(name) if name else count
        if not name and not count:
            raise DebugError("The history is empty.")
        if not number or number > count:
            raise DebugError(f"History has not yet reached ${number}.")
        return self.history[number - 1]

    def set_dollar(self, name: str, value: Value) -> None:
        """Set a convenience variable."""
        if not value.lost and not isinstance(value.bare, c.Void):
            value = Value(value.type, value.content, address=None, memory=value.memory)
        self.convenience[name] = value

    def call(self, function: Value, arguments: list[Value]) -> Value:
        """Call a guest function, by name or pointer."""
        bare = function.bare
        kind = bare.target.bare if isinstance(bare, c.Pointer) else bare
        if not isinstance(kind, c.Function):
            raise DebugError("Cannot perform a call on a non-function value.")
        if self.call_guest is None:
            raise DebugError("You can't do that without a process to debug.")
        if len(arguments) < len(kind.parameters or ()):
            raise DebugError("Too few arguments in function call.")
        if len(arguments) > len(kind.parameters or ()) and not kind.variadic and kind.parameters is not None:
            raise DebugError("Too many arguments in function call.")
        if function.type is NO_DEBUG_INFO:
            name = self.program.symbol(function.integer()).strip("<>")
            raise DebugError(f"'{name}' has unknown return type; cast the call to its declared return type")
        result = self.call_guest(function.integer(), list(map(_passed, arguments)))
        if isinstance(kind.returns.bare, c.Void):
            return Value(c.VOID, b"\0")
        return Value(kind.returns, encode(c.UNSIGNED_LONG, result)[: kind.returns.size], memory=self.memory)


def _passed(argument: Value) -> int | bytes:
    """A value as a call passes it: a string of the debugger's by its bytes."""
    if isinstance(argument.bare, c.Array) and argument.address is None:
        return argument.content
    return argument.integer()


class _Nowhere:
    """No frame: what a global is expressed by refers to none."""

    def _refuse(self, *_: object) -> NoReturn:
        raise Unavailable("no frame")

    register = read = cfa = frame_base = entry_value = base_type = _refuse
