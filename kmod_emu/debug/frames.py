"""Call frames of a stopped task: by DWARF where a module has it, else by ORC, as the kernel's traces."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from kmod_emu.debug.c.types import Integer
from kmod_emu.debug.c.values import Value, encode
from kmod_emu.debug.dwarf.dies import attribute_of, number_of
from kmod_emu.debug.dwarf.expression import Context, Kind, Unavailable, evaluate
from kmod_emu.kernel.unwind import Place, orc_tables, return_slot
from kmod_emu.machine.memory import PageFault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from elftools.dwarf.die import DIE

    from kmod_emu.debug.dwarf.info import DebugInfo, FunctionScope
    from kmod_emu.debug.dwarf.lines import LineRange
    from kmod_emu.debug.program import Program
    from kmod_emu.kernel.orc import OrcTables
    from kmod_emu.kernel.tasks import Task

__all__ = ["DWARF_REGISTERS", "Frame", "call_line", "frames_of"]

DWARF_REGISTERS = ("rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12",
                   "r13", "r14", "r15", "rip")  # fmt: skip
_RETURN = 16
_LIMIT = 200


class Frame:
    """A function that has been entered and not left, or an inlined copy of one.

    Attributes:
        level: 0 for the innermost.
        pc: The instruction that runs, or where it goes on when the callee returns.
        registers: By name, as they were when the callee was called; what is not known is missing.
        scope: The function, where debug information tells.
        caller: The frame that called it.
        called: Whether it waits for a callee: `pc` is then behind the call.
        line: The line that it is at.
        calls_inlined: The line is that of a call of an inlined function.
        cfa: The stack pointer before it was called, where it is known; of the frame on the stack.
        saved: Where registers of the caller are kept, by name.
        store: Changes a register, where that is possible.
    """

    def __init__(
        self,
        program: Program,
        level: int,
        registers: dict[str, int],
        info: DebugInfo | None,
        scope: FunctionScope | None,
        line: LineRange | None,
        *,
        called: bool,
    ) -> None:
        self.program, self.level, self.registers, self.info = program, level, registers, info
        self.scope, self.line, self.called = scope, line, called
        self.pc = registers["rip"]
        self.caller: Frame | None = None
        self.calls_inlined = False
        self.cfa: int | None = None
        self.saved: dict[str, int] = {}
        self.store: Callable[[str, int], None] | None = None

    @property
    def lookup_pc(self) -> int:
        """An address in the instruction that the frame is at."""
        return self.pc - self.called

    @property
    def name(self) -> str:
        """The function's name, `??` if nobody knows it."""
        if self.scope is not None:
            return self.scope.name
        found = self.program.locate(self.lookup_pc)
        return found[0] if found else "??"

    @property
    def is_inlined(self) -> bool:
        """Whether it is a copy inside its caller's code."""
        return self.scope is not None and self.scope.is_inlined

    @property
    def physical(self) -> Frame:
        """The frame on the stack that this one is part of."""
        frame = self
        while frame.is_inlined and frame.caller is not None:
            frame = frame.caller
        return frame

    @property
    def shows_address(self) -> bool:
        """Whether it is in the middle of a statement, so that the address is told too."""
        if self.line is None:
            return True
        if self.calls_inlined:
            return False
        return self.called or self.pc != self.line.start or not self.line.is_statement

    # --- variables ------------------------------------------------------------------------------------

    def variables(self, *, parameters: bool) -> Iterator[tuple[str, Value]]:
        """Parameters or locals with their values; an inner block's variable hides others of its name."""
        if self.scope is not None:
            for name, die in self.scope.variables(parameters=parameters):
                yield name, self.value_of(die)

    def find(self, name: str) -> Value | None:
        """A local variable or parameter."""
        if self.scope is None:
            return None
        for parameters in (False, True):
            for known, die in self.scope.variables(parameters=parameters):
                if known == name:
                    return self.value_of(die)
        return None

    def value_of(self, die: DIE) -> Value:
        """The value that a variable has in this frame."""
        assert self.info is not None
        kind = self.info.types.type_of(die)
        memory = self.program.memory
        constant = attribute_of(die, "DW_AT_const_value")
        if constant is not None and "DW_AT_location" not in die.attributes:
            raw = constant.value
            return (
                Value(kind, bytes(raw), memory=memory)
                if isinstance(raw, (bytes, list))
                else Value(kind, encode(kind, raw), memory=memory)
            )
        try:
            operations = self.info.operations(die, "DW_AT_location", self.lookup_pc)
            if operations is None:
                return Value(kind, lost="optimized out")
            place = evaluate(operations, _FrameContext(self))
            if place.kind is Kind.MEMORY:
                return Value(kind, address=place.number, memory=memory)
            if place.kind is Kind.REGISTER:
                return self._in_register(kind, place.number)
            if place.kind is Kind.SYNTHETIC:
                return Value(kind, lost="synthetic pointer")
            return Value(kind, place.content[: kind.size].ljust(kind.size, b"\0"), memory=memory)
        except (Unavailable, PageFault):
            return Value(kind, lost="optimized out")

    def value_at_entry(self, die: DIE) -> Value | None:
        """What a parameter was when the function was called, if the caller's debug information tells."""
        if self.is_inlined or self.scope is None or self.info is None:
            return None
        operations = self.info.operations(die, "DW_AT_location", self.scope.entry)
        if not operations or len(operations) != 1 or not operations[0].op_name.startswith("DW_OP_reg"):
            return None
        try:
            number = _FrameContext(self).entry_value(operations)
        except (Unavailable, PageFault):
            return None
        kind = self.info.types.type_of(die)
        content = (number & (1 << 64) - 1).to_bytes(8, "little")[: kind.size]
        return Value(kind, content, memory=self.program.memory) if len(content) == kind.size else None

    def _in_register(self, kind: Any, number: int) -> Value:
        name = DWARF_REGISTERS[number] if number < len(DWARF_REGISTERS) else ""
        if name not in self.registers:
            raise Unavailable("not saved")
        content = self.registers[name].to_bytes(8, "little")[: kind.size]
        store = None
        if self.store is not None:
            change, old = self.store, self.registers[name]

            def store(data: bytes) -> None:
                kept = old.to_bytes(8, "little")[len(data) :] if len(data) < 4 else b""
                change(name, int.from_bytes(data + kept, "little"))

        content = content.ljust(kind.size, b"\0")
        return Value(kind, content, memory=self.program.memory, store=store, register=name)


class _FrameContext(Context):
    """What a DWARF expression in a frame refers to."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame

    def register(self, number: int) -> int:
        registers = self.frame.registers
        name = DWARF_REGISTERS[number] if number < len(DWARF_REGISTERS) else ""
        if name not in registers:
            raise Unavailable("a register that is not saved")
        return registers[name]

    def read(self, address: int, size: int) -> bytes:
        return self.frame.program.memory.read(address, size)

    def cfa(self) -> int:
        cfa = self.frame.physical.cfa
        if cfa is None:
            raise Unavailable("no call frame information")
        return cfa

    def frame_base(self) -> int:
        frame = self.frame.physical
        if frame.info is None or frame.scope is None:
            raise Unavailable("no frame base")
        operations = frame.info.operations(frame.scope.die, "DW_AT_frame_base", frame.lookup_pc)
        if operations is None:
            raise Unavailable("no frame base")
        place = evaluate(operations, self)
        return self.register(place.number) if place.kind is Kind.REGISTER else place.number

    def entry_value(self, operations: Sequence[Any]) -> int:
        """Where the caller's debug information tells what it passed (DW_TAG_call_site_parameter)."""
        inner = self.frame.physical
        caller = inner.caller
        if caller is None or caller.info is None or len(operations) != 1:
            raise Unavailable("the caller does not tell")
        outer = caller.physical
        if outer.scope is None or outer.info is None:
            raise Unavailable("the caller does not tell")
        for site in outer.scope.calls():
            where = number_of(site, "DW_AT_call_return_pc") or number_of(site, "DW_AT_low_pc")
            if where == caller.pc:
                return _passed(outer, site, operations[0].op_name)
        raise Unavailable("the caller does not tell")

    def base_type(self, offset: int) -> Integer | None:
        info, scope = self.frame.info, self.frame.scope
        if info is None or scope is None:
            return None
        die = scope.die.cu.get_DIE_from_refaddr(scope.die.cu.cu_offset + offset)
        kind = info.types.read(die)
        if not isinstance(kind, Integer):
            raise Unavailable("floating point")
        return kind


def _passed(caller: Frame, site: DIE, register: str) -> int:
    """What a call passed in a register."""
    assert caller.info is not None
    for parameter in site.iter_children():
        operations = caller.info.operations(parameter, "DW_AT_location", caller.lookup_pc)
        if not operations or operations[0].op_name != register:
            continue
        for name in ("DW_AT_call_value", "DW_AT_GNU_call_site_value"):
            value = caller.info.operations(parameter, name, caller.lookup_pc)
            if value:
                place = evaluate(value, _FrameContext(caller))
                if place.kind is Kind.VALUE:
                    return int.from_bytes(place.content, "little")
                return place.number
    raise Unavailable("the caller does not tell")


# --- walking ----------------------------------------------------------------------------------------


def frames_of(
    program: Program,
    task: Task,
    registers: Mapping[str, int],
    *,
    limit: int = _LIMIT,
    reveal: int = 0,
) -> list[Frame]:
    """The frames of a task that is stopped with these registers, innermost first.

    Args:
        program: The names.
        task: Whose.
        registers: Of the innermost.
        limit: About how many at most.
        reveal: Of inlined functions whose first instruction is to run, how many count as entered.
    """
    frames: list[Frame] = []
    walk = _Walk(program, task)
    here, called = dict(registers), False
    while len(frames) < limit:
        group = _virtual(program, here, len(frames), called, reveal if not frames else 0)
        frames += group
        above = walk.caller(group[-1], called)
        if above is None:
            break
        here, called = above
    for inner, outer in pairwise(frames):
        inner.caller = outer
    return frames


def _virtual(
    program: Program, registers: dict[str, int], level: int, called: bool, reveal: int
) -> list[Frame]:
    """The frame at an instruction, behind those of the functions inlined there."""
    pc = registers["rip"] - called
    info, line = program.info_at(pc), program.line_at(pc)
    scopes: list[FunctionScope | None] = list(program.scopes(pc)) or [None]
    hidden = 0 if called else max(len(program.beginning(pc)) - reveal, 0)  # their caller still runs
    found: list[Frame] = []
    for index, scope in enumerate(scopes):
        if index >= hidden:
            frame = Frame(program, level + len(found), registers, info, scope, line, called=called)
            frame.calls_inlined = index > 0
            found.append(frame)
        if scope is not None and scope.is_inlined:
            line = call_line(info, scope, line)
    return found


def call_line(info: DebugInfo | None, scope: FunctionScope, line: LineRange | None) -> LineRange | None:
    """The line from which an inlined function is called."""
    if info is None or line is None:
        return None
    number, file = number_of(scope.die, "DW_AT_call_line"), number_of(scope.die, "DW_AT_call_file")
    name = info.file_name(scope.die.cu, file)
    return line._replace(line=number, file=name or line.file)


class _Walk:
    """From a frame to its caller."""

    def __init__(self, program: Program, task: Task) -> None:
        self._program, self._task = program, task
        self._kernel = program.kernel
        self._tables: OrcTables | None = None
        self._activations = [a for a in task.activations if a.deliver is not None]

    def caller(self, frame: Frame, called: bool) -> tuple[dict[str, int], bool] | None:
        """The registers in the caller, and whether its instruction pointer is behind a call."""
        try:
            registers = self._by_dwarf(frame) or self._by_orc(frame, called)
        except (PageFault, LookupError, Unavailable):
            return None
        if registers["rip"] == self._kernel.traps.return_address:
            if not self._activations:
                return None
            below = self._activations.pop()  # Python was called from there, or interrupted it
            return {**registers, "rip": below.rip, "rsp": below.stack}, False
        if registers["rsp"] <= frame.registers["rsp"] or not registers["rip"]:
            return None
        return registers, True

    def _by_dwarf(self, frame: Frame) -> dict[str, int] | None:
        table = frame.info.frames if frame.info is not None else None
        rules = table.rules(frame.lookup_pc if frame.called else frame.pc) if table is not None else None
        if rules is None or frame.info is None:
            return None
        registers, memory = frame.registers, self._kernel.memory
        cfa_rule = rules["cfa"]
        if cfa_rule.expr is not None:
            raise Unavailable("a frame address that is computed")
        cfa = (registers[DWARF_REGISTERS[cfa_rule.reg]] + cfa_rule.offset) & (1 << 64) - 1
        frame.cfa = cfa
        above = {**registers, "rsp": cfa}
        for number, rule in rules.items():
            if not isinstance(number, int) or number >= len(DWARF_REGISTERS):
                continue
            if rule.type == "OFFSET":
                frame.saved[DWARF_REGISTERS[number]] = cfa + rule.arg
                above[DWARF_REGISTERS[number]] = memory.read_u64(cfa + rule.arg)
            elif rule.type == "VAL_OFFSET":
                above[DWARF_REGISTERS[number]] = cfa + rule.arg
        if _RETURN not in rules:
            above["rip"] = memory.read_u64(cfa - 8)
        return above

    def _by_orc(self, frame: Frame, called: bool) -> dict[str, int]:
        if self._tables is None:
            self._tables = orc_tables(self._kernel)
        registers = frame.registers
        place = Place(registers["rip"], registers["rsp"], registers["rbp"])
        if not self._task.stack <= place.rsp < self._task.stack_top:
            raise LookupError("not on the task's stack")
        slot, rbp = return_slot(self._kernel, self._tables, place, called)
        frame.cfa, frame.saved = slot + 8, {"rip": slot}
        return {**registers, "rip": self._kernel.memory.read_u64(slot), "rsp": slot + 8, "rbp": rbp}
