"""The registers that gdb sees: i386:x86-64 with SSE, segment bases and control registers."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from unicorn import x86_const as x86

if TYPE_CHECKING:
    from kmod_emu.debug.debugger import Debugger
    from kmod_emu.kernel.tasks import Task

_GENERAL = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)), "rip")
_SELECTORS = {"cs": 0x10, "ss": 0x18, "ds": 0, "es": 0, "fs": 0, "gs": 0}  # as Linux has them in the kernel
_X87 = ("fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop")
_CONTROL = ("cr0", "cr2", "cr3", "cr4", "cr8", "efer")
_EFER = 0xC000_0080


class Register(NamedTuple):
    """One register: its name, bits and type in the target description."""

    name: str
    bits: int
    type: str
    feature: str


def _all() -> list[Register]:
    core = "org.gnu.gdb.i386.core"
    registers = [
        Register(name, 64, {"rbp": "data_ptr", "rsp": "data_ptr", "rip": "code_ptr"}.get(name, "int64"), core)
        for name in _GENERAL
    ]
    registers.append(Register("eflags", 32, "i386_eflags", core))
    registers += [Register(name, 32, "int32", core) for name in _SELECTORS]
    registers += [Register(f"st{n}", 80, "i387_ext", core) for n in range(8)]
    registers += [Register(name, 32, "int", core) for name in _X87]
    sse = "org.gnu.gdb.i386.sse"
    registers += [Register(f"xmm{n}", 128, "vec128", sse) for n in range(16)]
    registers.append(Register("mxcsr", 32, "i386_mxcsr", sse))
    registers += [Register(name, 64, "int64", "org.gnu.gdb.i386.segments") for name in ("fs_base", "gs_base")]
    registers += [Register(name, 64, "int64", "org.kmod-emu.control") for name in _CONTROL]
    return registers


REGISTERS = _all()

_EFLAGS = "".join(
    f'<field name="{name}" start="{bit}" end="{bit}"/>'
    for name, bit in {
        "CF": 0, "PF": 2, "AF": 4, "ZF": 6, "SF": 7, "TF": 8, "IF": 9, "DF": 10, "OF": 11, "NT": 14, "RF": 16,
        "VM": 17, "AC": 18, "VIF": 19, "VIP": 20, "ID": 21,
    }.items()
)  # fmt: skip
_MXCSR_BITS = ("IE", "DE", "ZE", "OE", "UE", "PE", "DAZ", "IM", "DM", "ZM", "OM", "UM", "PM")
_MXCSR = "".join(f'<field name="{name}" start="{bit}" end="{bit}"/>' for bit, name in enumerate(_MXCSR_BITS))
_TYPES = {
    "org.gnu.gdb.i386.core": f'<flags id="i386_eflags" size="4">{_EFLAGS}</flags>',
    "org.gnu.gdb.i386.sse": (
        '<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>'
        '<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>'
        '<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>'
        '<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>'
        '<field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/>'
        '<field name="v4_int32" type="v4i32"/><field name="v2_int64" type="v2i64"/>'
        '<field name="uint128" type="uint128"/></union>'
        f'<flags id="i386_mxcsr" size="4">{_MXCSR}</flags>'
    ),
}


def target_xml() -> bytes:
    """The target description.

    Its ABI is none, so that gdb asks for the list of modules, as for any target without an operating system.
    """
    features = []
    for feature in dict.fromkeys(register.feature for register in REGISTERS):
        lines = "".join(
            f'<reg name="{register.name}" bitsize="{register.bits}" type="{register.type}"/>\n'
            for register in REGISTERS
            if register.feature == feature
        )
        features.append(f'<feature name="{feature}">\n{_TYPES.get(feature, "")}\n{lines}</feature>\n')
    head = '<?xml version="1.0"?>\n<!DOCTYPE target SYSTEM "gdb-target.dtd">\n<target version="1.0">\n'
    body = f"<architecture>i386:x86-64</architecture>\n<osabi>none</osabi>\n{''.join(features)}</target>\n"
    return (head + body).encode()


def read_all(debugger: Debugger, task: Task) -> bytes:
    """The registers of a task as `g` gives them."""
    general = debugger.registers(task)
    return b"".join(_bytes(debugger, task, general, register) for register in REGISTERS)


def read_one(debugger: Debugger, task: Task, number: int) -> bytes:
    """One register, little endian; IndexError where there is none."""
    return _bytes(debugger, task, debugger.registers(task), REGISTERS[number])


def _bytes(debugger: Debugger, task: Task, general: dict[str, int], register: Register) -> bytes:
    size = register.bits // 8
    value = general[register.name] if register.name in general else _special(debugger, task, register.name)
    return (value & (1 << register.bits) - 1).to_bytes(size, "little")


def _special(debugger: Debugger, task: Task, name: str) -> int:
    if name in _SELECTORS:
        return _SELECTORS[name]
    if name == "efer":
        return debugger.kernel.cpu.read_msr(_EFER)
    if name in _CONTROL:
        return int(debugger.kernel.cpu.read_number(getattr(x86, f"UC_X86_REG_{name.upper()}")))
    read = debugger.vector_reader(task)
    if name.startswith("st"):
        value = read(x86.UC_X86_REG_FP0 + int(name[2:]))  # a pair from the processor, bits from a context
        return int(value[1]) << 64 | int(value[0]) if isinstance(value, tuple) else int(value)
    if name.startswith("xmm"):
        return int(read(x86.UC_X86_REG_XMM0 + int(name[3:])))
    number = {"fctrl": x86.UC_X86_REG_FPCW, "fstat": x86.UC_X86_REG_FPSW, "ftag": x86.UC_X86_REG_FPTAG}
    number["mxcsr"] = x86.UC_X86_REG_MXCSR
    return int(read(number[name])) if name in number else 0


def write(debugger: Debugger, number: int, data: bytes) -> bool:
    """Set one register of the running task; False if it cannot be set. IndexError where there is none."""
    register = REGISTERS[number]
    if register.name not in debugger.kernel.cpu.registers() or len(data) != register.bits // 8:
        return False
    value = int.from_bytes(data, "little")
    if debugger.registers()[register.name] != value:
        debugger.set_register(register.name, value)
    return True


def write_all(debugger: Debugger, data: bytes) -> None:
    """Set those of the registers, as `G` gives them, that are others now."""
    place, before = 0, read_all(debugger, debugger.task)
    for number, register in enumerate(REGISTERS):
        end = place + register.bits // 8
        if data[place:end] != before[place:end]:
            write(debugger, number, data[place:end])
        place = end
