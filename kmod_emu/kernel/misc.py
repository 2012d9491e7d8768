"""Exports that belong to no subsystem of their own: what the compiler calls, CPU data, randomness."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from kmod_emu.kernel import report
from kmod_emu.kernel.exports import Fidelity, export, export_data
from kmod_emu.kernel.layout import PAGE_OFFSET, START_KERNEL_MAP, VMALLOC_START, VMEMMAP_START
from kmod_emu.kernel.vsprintf import vsnprintf
from kmod_emu.machine.memory import PAGE_SIZE

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.kernel.vsprintf import Arguments

_CPUMASK_BYTES = 8192 // 8  # CONFIG_NR_CPUS=8192
_X86_VENDOR_AMD = 2
_CPUINFO_SIZE = 256


@export("void __warn_printk(const char *fmt, ...)")
def __warn_printk(kernel: KernelCore, fmt: bytes, args: Arguments) -> None:
    """Text of a WARN, printed above its report (kernel/panic.c)."""
    kernel.printk.emit(report.CUT_HERE + "\n", 4)
    kernel.printk.emit(vsnprintf(fmt, args, kernel.format_context), 4)


@export("void panic(const char *fmt, ...)")
async def panic(kernel: KernelCore, fmt: bytes, args: Arguments) -> None:
    """Stop the machine (kernel/panic.c)."""
    text = vsnprintf(fmt, args, kernel.format_context).decode("utf-8", "backslashreplace")
    await kernel.panics.panic_told(text.removesuffix("\n"))


@export("void __stack_chk_fail(void)")
def __stack_chk_fail(kernel: KernelCore) -> None:
    """The compiler's check found a stack overwritten (kernel/panic.c)."""
    caller = kernel.memory.read_u64(kernel.traps.stack_pointer)
    kernel.panics.panic(f"stack-protector: Kernel stack is corrupted in: {kernel.describe(caller - 1)}")


# include/linux/refcount.h: enum refcount_saturation_type -> line in lib/refcount.c, offset, text
_REFCOUNT_BUGS = {
    0: (19, 0x74, "refcount_t: saturated; leaking memory."),
    1: (22, 0x51, "refcount_t: saturated; leaking memory."),
    2: (25, 0x97, "refcount_t: addition on 0; use-after-free."),
    3: (28, 0xBA, "refcount_t: underflow; use-after-free."),
    4: (31, 0xFB, "refcount_t: decrement hit 0; leaking memory."),
}
_REFCOUNT_SATURATED = 0xC000_0000


@export("void refcount_warn_saturate(refcount_t *r, enum refcount_saturation_type t)")
def refcount_warn_saturate(kernel: KernelCore, r: int, t: int) -> None:
    """A reference count went wrong: it is kept where it does no harm (lib/refcount.c)."""
    kernel.memory.write_u32(r, _REFCOUNT_SATURATED)
    line, offset, text = _REFCOUNT_BUGS.get(t, (34, 0xE1, "refcount_t: unknown saturation event!?."))
    kernel.warnings.warn_once("lib/refcount.c", line, text, f"refcount_warn_saturate+{offset:#x}/0x110")


@export("void __copy_overflow(int size, unsigned long count)", Fidelity.APPROXIMATE)
def __copy_overflow(kernel: KernelCore, size: int, count: int) -> None:
    """A copy between kernel and user would overflow its buffer, and is not made (mm/maccess.c)."""
    kernel.warnings.warn(
        "mm/maccess.c", 234, f"Buffer overflow detected ({size} < {count})!", "__copy_overflow"
    )


@export("void list_corruption(int line)")
def list_corruption(kernel: KernelCore, line: int) -> None:
    """A check of a list failed, and has been printed (guest_kernel_stubs/list_debug.c)."""
    kernel.oopses.bug(
        "a linked list is damaged: an entry was added or deleted twice, or freed while on it",
        ("lib/list_debug.c", line),
    )


@export("void fortify_panic(const char *name)")
def fortify_panic(kernel: KernelCore, name: str) -> None:
    """A checked string function would overflow its buffer (lib/string_helpers.c)."""
    kernel.printk.emit(f"detected buffer overflow in {name}\n", 0)
    kernel.oopses.bug(f"detected buffer overflow in {name}", ("lib/string_helpers.c", 1027))


# include/linux/fortify-string.h: the functions that are checked, by the number that callers pass
_FORTIFIED = (
    "strncpy", "strnlen", "strlen", "strscpy", "strlcat", "strcat", "strncat", "memset", "memcpy", "memmove",
    "memscan", "memcmp", "memchr", "memchr_inv", "kmemdup", "strcpy",
)  # fmt: skip


def _fortify_text(reason: int, avail: int, size: int) -> str:
    name = _FORTIFIED[reason >> 1] if reason >> 1 < len(_FORTIFIED) else "unknown"
    access = "write" if reason & 1 else "read"
    return f"{name}: detected buffer overflow: {size} byte {access} of buffer size {avail}"


@export("void __fortify_report(const u8 reason, const size_t avail, const size_t size)")
def __fortify_report(kernel: KernelCore, reason: int, avail: int, size: int) -> None:
    """A checked string function would overflow its buffer: warn (lib/string_helpers.c)."""
    text = _fortify_text(reason, avail, size)
    kernel.warnings.warn("lib/string_helpers.c", 1032, text, "__fortify_report+0x45/0x50")


@export("void __fortify_panic(const u8 reason, const size_t avail, const size_t size)")
def __fortify_panic(kernel: KernelCore, reason: int, avail: int, size: int) -> None:
    """Warn and stop: fortify_panic's successor (lib/string_helpers.c)."""
    __fortify_report(kernel, reason, avail, size)
    kernel.oopses.bug(_fortify_text(reason, avail, size), ("lib/string_helpers.c", 1040))


def _define_field_checks() -> None:
    """Calls of these are left where the compiler saw an overflow of a member, and only warned."""
    for name in ("__read_overflow2_field", "__write_overflow_field"):

        @export(f"void {name}(size_t avail, size_t wanted)")
        def overflow_field(kernel: KernelCore, avail: int, wanted: int) -> None:
            """The copy is made all the same (lib/string_helpers.c)."""


_define_field_checks()


@export("void dump_stack(void)")
def dump_stack(kernel: KernelCore) -> None:
    """Print CPU, hardware and call trace (lib/dump_stack.c)."""
    report.dump_stack(kernel)


def random_bytes(kernel: KernelCore, size: int) -> bytes:
    """Bytes that look random and depend on the virtual clock only, so that runs repeat."""
    import hashlib

    kernel.clock.advance(1)
    return hashlib.shake_128(kernel.clock.now_ns.to_bytes(8, "little")).digest(size)


@export("void get_random_bytes(void *buf, size_t len)", Fidelity.APPROXIMATE)
def get_random_bytes(kernel: KernelCore, buf: int, len: int) -> None:
    """Random bytes (drivers/char/random.c)."""
    for offset in range(0, len, PAGE_SIZE):
        kernel.memory.write(buf + offset, random_bytes(kernel, min(PAGE_SIZE, len - offset)))


def _define_random_numbers(bits: int) -> None:
    @export(f"u{bits} get_random_u{bits}(void)", Fidelity.APPROXIMATE)
    def get_random(kernel: KernelCore) -> int:
        """A random number (drivers/char/random.c)."""
        return int.from_bytes(random_bytes(kernel, bits // 8), "little")


for _bits in (8, 16, 32, 64):
    _define_random_numbers(_bits)


def _define_unique_numbers(kind: str, version_at: int) -> None:
    @export(f"void {kind}_gen({kind}_t *u)", Fidelity.APPROXIMATE)
    def generate(kernel: KernelCore, u: int) -> None:
        """A random number of version 4 (lib/uuid.c)."""
        raw = bytearray(random_bytes(kernel, 16))
        raw[version_at] = raw[version_at] & 0x0F | 0x40
        raw[8] = raw[8] & 0x3F | 0x80
        kernel.memory.write(u, bytes(raw))


_define_unique_numbers("uuid", 6)
_define_unique_numbers("guid", 7)


@export("int wait_for_random_bytes(void)")
def wait_for_random_bytes(kernel: KernelCore) -> int:
    """There are some already (drivers/char/random.c)."""
    return 0


@export_data("u64 sme_me_mask")
def sme_me_mask(kernel: KernelCore, address: int) -> None:
    """The bit of encrypted memory: none (arch/x86/mm/mem_encrypt_identity.c)."""


@export("bool cc_platform_has(enum cc_attr attr)")
def cc_platform_has(kernel: KernelCore, attr: int) -> int:
    """Whether memory is encrypted: no (arch/x86/coco/core.c)."""
    return 0


@export_data("int panic_timeout", 4)
def panic_timeout(kernel: KernelCore, address: int) -> None:
    """Seconds until a machine that panicked boots again: never (kernel/panic.c)."""


@export_data("pteval_t __default_kernel_pte_mask")
def __default_kernel_pte_mask(kernel: KernelCore, address: int) -> None:
    """Bits of page table entries that the processor knows: all (arch/x86/mm/init_64.c)."""
    kernel.memory.write_u64(address, (1 << 64) - 1)


@export_data("unsigned long page_offset_base")
def page_offset_base(kernel: KernelCore, address: int) -> None:
    """Start of the direct map (arch/x86/kernel/head64.c)."""
    kernel.memory.write_u64(address, PAGE_OFFSET)


@export_data("unsigned long vmalloc_base")
def vmalloc_base(kernel: KernelCore, address: int) -> None:
    """Start of vmalloc space (arch/x86/kernel/head64.c)."""
    kernel.memory.write_u64(address, VMALLOC_START)


@export_data("unsigned long vmemmap_base")
def vmemmap_base(kernel: KernelCore, address: int) -> None:
    """Start of the struct page array (arch/x86/kernel/head64.c)."""
    kernel.memory.write_u64(address, VMEMMAP_START)


@export_data("unsigned long phys_base")
def phys_base(kernel: KernelCore, address: int) -> None:
    """Where the kernel's mapping lies in RAM (arch/x86/kernel/head64.c)."""
    kernel.memory.write_u64(address, kernel.memory.translate(START_KERNEL_MAP))


def _one_cpu(kernel: KernelCore, address: int) -> None:
    """A mask with the machine's one processor in it (kernel/cpu.c)."""
    kernel.memory.write_u64(address, 1)


for _mask in ("possible", "online", "present", "active"):
    export_data(f"struct cpumask __cpu_{_mask}_mask", _CPUMASK_BYTES)(_one_cpu)


@export_data("unsigned int nr_cpu_ids", 4)
def nr_cpu_ids(kernel: KernelCore, address: int) -> None:
    """Highest CPU number plus one (kernel/smp.c)."""
    kernel.memory.write_u32(address, 1)


@export_data("atomic_t __num_online_cpus", 4)
def __num_online_cpus(kernel: KernelCore, address: int) -> None:
    """How many processors run (kernel/cpu.c)."""
    kernel.memory.write_u32(address, 1)


@export_data("struct cpuinfo_x86 boot_cpu_data", _CPUINFO_SIZE, Fidelity.APPROXIMATE)
def boot_cpu_data(kernel: KernelCore, address: int) -> None:
    """Family, vendor, model and stepping (arch/x86/kernel/setup.c); no optional feature is set."""
    kernel.memory.write(address, struct.pack("<BBBB", 15, _X86_VENDOR_AMD, 107, 1))


_CACHE_MODES = (0x0, 0x8, 0x10, 0x18, 0x98, 0x88)  # of a table entry: write-back, WC, UC-, UC, WT, WP


@export("unsigned long cachemode2protval(enum page_cache_mode pcm)")
def cachemode2protval(kernel: KernelCore, pcm: int) -> int:
    """The bits of a page table's entry for a way of caching (arch/x86/mm/init.c)."""
    return _CACHE_MODES[pcm] if pcm < len(_CACHE_MODES) else 0
