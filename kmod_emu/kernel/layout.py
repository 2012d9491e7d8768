"""The address map of the machine, as x86-64 Linux has it (Documentation/x86/x86_64/mm.rst).

The stub base kernel lies at the very start of the kernel text mapping. What real kernels spread over a
terabyte of address space is here as large as the RAM behind it.
"""

PAGE_OFFSET = 0xFFFF_8880_0000_0000  # direct map of all RAM
VMALLOC_START = 0xFFFF_C900_0000_0000
VMEMMAP_START = 0xFFFF_EA00_0000_0000  # struct page array
START_KERNEL_MAP = 0xFFFF_FFFF_8000_0000  # __START_KERNEL_map: the base kernel
MODULES_VADDR = 0xFFFF_FFFF_C000_0000
TASK_SIZE_MAX = 0x7FFF_FFFF_F000

MIB = 1 << 20
RAM_SIZE = 128 * MIB
VMALLOC_SIZE = 128 * MIB
MODULES_SIZE = 192 * MIB
KERNEL_SIZE = 64 * MIB
KERNEL_TEXT = START_KERNEL_MAP + 16 * MIB  # where a distribution's kernel begins
STRUCT_PAGE_SIZE = 64

# Inside the base kernel's mapping, below where a real kernel's text begins; at its start lies the image that
# guest_kernel_stubs/ builds.
DATA_BASE = START_KERNEL_MAP + 4 * MIB  # data exports that Python fills
DATA_SPACE = 4 * MIB
TRAP_BASE = START_KERNEL_MAP + 8 * MIB  # trap slots of the exports that Python serves
TRAP_SPACE = MIB
ARGUMENT_PAGE = START_KERNEL_MAP + 12 * MIB
JIFFIES_PAGE = START_KERNEL_MAP + 13 * MIB  # what modules of a distribution's kernel look at

# An export without an implementation gets a page of its own that is never mapped: calling, reading or
# writing it faults, and the address tells which export it was.
ABSENT_BASE = START_KERNEL_MAP + 256 * MIB
ABSENT_STRIDE = 4096

THREAD_SIZE = 16384
USER_MMAP_BASE = 0x7F00_0000_0000
