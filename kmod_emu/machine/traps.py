"""Traps: the instruction sequence by which guest code calls Python, and the page it leaves arguments on.

An export served by Python is a 16-byte slot of guest code that loads its number and jumps to a common
tail. The tail of a C call spills the six argument registers and RSP to the *argument page*, executes
`out`, and returns with RAX taken from that page, having called a function with it before if the handler
named one. Reading the page with `struct` costs a fraction of reading registers through Unicorn, which is
why it exists. The `out` is followed by a jump to the next instruction: that ends the translation block, so
a handler that blocks can stop the processor there.

Functions with a calling convention of their own (`__get_user_4`, `__put_user_4`) use the other tail, which
spills and reloads every general register.

The way back, a C call that Python makes, begins at the *entry*: it takes RSP, the argument registers and
the function's address from the same page, which costs less than writing seven registers through Unicorn.

The *forgetter* makes the processor forget the translations of a list of pages: only guest code can name one.
"""

from __future__ import annotations

import struct

PORT = 0x6B
SLOT_SIZE = 16
TAIL_SPACE = 0x200  # the two tails and the entry lie before the first slot

# The argument page. A C call fills RDI..RSP; the other tail fills all sixteen, in this order.
REGISTERS = ("rdi", "rsi", "rdx", "rcx", "r8", "r9", "rsp", "rax", "rbx", "rbp", "r10", "r11", "r12", "r13",
             "r14", "r15")  # fmt: skip
OFFSET = {name: 8 * index for index, name in enumerate(REGISTERS)}
RESULT = OFFSET["rax"]
AFTER = 8 * len(REGISTERS)  # behind them: a function that is called with the result before a C call returns
TARGET = AFTER + 8  # the function that the entry jumps to
CALLER = TARGET + 8  # where a C call returns to
FORGET, FORGET_END = CALLER + 8, CALLER + 16  # pages whose translations go before a C call returns
FORGOTTEN = 512  # from here on: a list of pages whose translations go when the forgetter runs

_PLACES = struct.Struct("<III")  # of the entry, of the second tail and of the forgetter

RETURN_NUMBER = 0  # the slot that functions called by Python return to
FIRST_NUMBER = 1


def c_tail(page: int) -> list[str]:
    """Assembly of the tail of a C call; EAX holds the trap's number."""
    spill = [f"mov [@{page + OFFSET[name]:#x}], {name}" for name in REGISTERS[:7]]
    first = f"[@{page + OFFSET['rdi']:#x}]"
    caller = ["mov rdi, [rsp]", f"mov [@{page + CALLER:#x}], rdi", f"mov rdi, {first}"]
    forget = [
        f"mov rax, [@{page + FORGET:#x}]",
        f"cmp rax, [@{page + FORGET_END:#x}]",
        "jae @+13",
        "invlpg [rax]",
        "add rax, 0x1000",
        "jmp @-18",
        f"mov [@{page + FORGET:#x}], rax",
    ]
    after, result = f"[@{page + AFTER:#x}]", f"[@{page + RESULT:#x}]"
    leave = [f"mov rax, {after}", "test rax, rax", "jnz @+10", f"mov rax, {result}", "ret"]
    call = [
        "xor ecx, ecx",
        f"mov {after}, rcx",
        f"mov rdi, {result}",
        "push rdi",
        "call rax",
        "pop rax",
        "ret",
    ]
    return [*spill, *caller, f"out {PORT:#x}, eax", "jmp @+2", *forget, *leave, *call]


def register_tail(page: int) -> list[str]:
    """Assembly of the tail that keeps all registers; the trap's number is on the stack."""
    saved = [name for name in REGISTERS if name != "rsp"]
    spill = [f"mov [@{page + OFFSET[name]:#x}], {name}" for name in saved]
    reload = [f"mov {name}, [@{page + OFFSET[name]:#x}]" for name in saved]
    number = ["pop rax", f"mov [@{page + OFFSET['rsp']:#x}], rsp", f"out {PORT:#x}, eax", "jmp @+2"]
    return [*spill, *number, *reload, "ret"]


def entry(page: int) -> list[str]:
    """Assembly of the entry: from the argument page into a C function."""
    load = [f"mov {name}, [@{page + OFFSET[name]:#x}]" for name in REGISTERS[:7]]
    return [*load, f"mov r11, [@{page + TARGET:#x}]", "jmp r11"]


def forgetter(page: int) -> list[str]:
    """Assembly of what forgets the translations of as many pages of the list as RCX says, and stops."""
    each = ["mov rax, [rsi]", "invlpg [rax]", "add rsi, 8", "dec rcx", "jnz @-13", "hlt"]
    return [f"lea rsi, [@{page + FORGOTTEN:#x}]", *each]


def return_slot(tail: int) -> list[str]:
    """Assembly of slot 0: the result of a function called by Python becomes the first argument."""
    return ["mov rdi, rax", f"mov eax, {RETURN_NUMBER}", f"jmp {tail:#x}"]


class TrapArea:
    """The bytes and addresses of trap slots.

    Args:
        base: Virtual address of the area: the tails, then the slots.
        tails: The assembled tails and the entry, as `build_tails` makes them for this base and argument page.
    """

    def __init__(self, base: int, tails: bytes) -> None:
        self.base = base
        self.tails = tails
        entry_at, second_at, forgetter_at = _PLACES.unpack_from(tails, TAIL_SPACE - _PLACES.size)
        self.entry: int = base + entry_at
        self.forgetter: int = base + forgetter_at
        self._register_tail: int = base + second_at

    def address(self, number: int) -> int:
        """Virtual address of slot `number`."""
        return self.base + TAIL_SPACE + number * SLOT_SIZE

    def number(self, address: int) -> int | None:
        """The slot that holds `address`, or None."""
        offset = address - self.base - TAIL_SPACE
        return offset // SLOT_SIZE if offset >= 0 else None

    def slot(self, number: int, *, all_registers: bool = False) -> bytes:
        """Code of one slot: `mov eax, number; jmp tail`, or `push number; jmp tail`."""
        address = self.address(number)
        tail = self._register_tail if all_registers else self.base
        load = b"\x68" if all_registers else b"\xb8"
        code = load + struct.pack("<I", number) + b"\xe9" + struct.pack("<i", tail - (address + 10))
        return code.ljust(SLOT_SIZE, b"\xcc")


def build_tails(base: int, page: int) -> bytes:
    """Assemble tails, entry, forgetter and slot 0 with keystone: TAIL_SPACE bytes, then the slot.

    The last three words of the space hold the offsets of the entry, the second tail and the forgetter.
    """
    space, starts = b"", []
    for lines in (c_tail(page), register_tail(page), entry(page), forgetter(page)):
        space += b"\xcc" * (-len(space) & 15)
        starts.append(len(space))
        space += _assemble_all(lines, base + len(space))
    places = _PLACES.pack(starts[2], starts[1], starts[3])
    slot = _assemble_all(return_slot(base), base + TAIL_SPACE).ljust(SLOT_SIZE, b"\xcc")
    return space.ljust(TAIL_SPACE - len(places), b"\xcc") + places + slot


def _assemble_all(lines: list[str], address: int) -> bytes:
    """Assemble line by line; `[@ADDRESS]` becomes RIP-relative, `@+N` is N bytes behind the line's start.

    Keystone 0.9 encodes `mov reg, [ADDRESS]` with the address itself as the distance from RIP, so the
    distance is computed here: every such move is seven bytes long.
    """
    from kmod_emu.machine.asm import assemble

    code = b""
    for line in lines:
        here = address + len(code)
        head, at, target = line.partition("[@")
        if at:
            place, rest = target.split("]")
            distance = int(place, 16) - (here + 7)
            if not -(1 << 31) <= distance < 1 << 31:
                raise ValueError(f"{place} is out of reach of {here:#x}")
            line = f"{head}[rip + {distance:#x}]{rest}"
        head, at, target = line.partition("@")
        code += assemble(f"{head}{here + int(target):#x}" if at else line, here)
    return code
