"""Memory: heap, vmalloc, per-CPU memory, and what would walk page tables."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from kmod_emu.kernel import slab, vmalloc
from kmod_emu.kernel.layout import PAGE_OFFSET
from kmod_emu.machine.memory import EXEC, PAGE_SHIFT, PAGE_SIZE, READ, WRITE
from kmod_emu.vmlinux.frontier.table import Frontier
from kmod_emu.vmlinux.mapping import make_read_only

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

frontier = Frontier(__name__)

_HEAP = "the heap is the machine's, so that its checkers see every object"
_PAGES = "there is no memory map by a firmware to make zones of; pages are the machine's"
_AREAS = "there are no page tables: a software MMU maps areas"
_PERCPU = "the per-CPU area is one block of the machine's"

_PAGE_RW, _PAGE_NX = 2, 1 << 63
_ARRAYS = 6  # CPA_ARRAY, CPA_PAGES_ARRAY: not these pages, but those that an array names
_HASH_BITS = 12

frontier.shared(
    _HEAP,
    "kmem_cache_create_usercopy kmem_cache_destroy kmem_cache_shrink kmem_cache_alloc kmem_cache_alloc_lru"
    " kmem_cache_alloc_node kmem_cache_alloc_bulk kmem_cache_free kmem_cache_free_bulk"
    " kmem_cache_free_bulk.part.0"
    " __kmalloc __kmalloc_node kmalloc_trace kmalloc_node_trace kmem_cache_alloc_trace __kmalloc_cache_noprof"
    " kmalloc_large kmalloc_large_node kfree krealloc ksize __check_object_size",
)


# The same under names that they had before, or have since allocations can be profiled.
for _prototype, _handler in (
    ("void *__kmalloc_large(size_t size, gfp_t flags)", slab.kmalloc_large),
    ("void *__kmalloc_large_node(size_t size, gfp_t flags, int node)", slab.kmalloc_large_node),
    ("void *kmalloc_order(size_t size, gfp_t flags, unsigned int order)", slab.kmalloc_large_node),
    ("void *__kmalloc_track_caller(size_t size, gfp_t flags, unsigned long caller)", slab.kmalloc_large_node),
    ("void *__kmalloc_flags(size_t size, gfp_t flags, unsigned int alloc_flags)", slab.__kmalloc_node),
    ("void *_kmalloc_nolock(size_t size, gfp_t flags, int node)", slab.__kmalloc_node),
    ("void kfree_nolock(const void *object)", slab.kfree),
    ("void *__kvmalloc_node(size_t size, gfp_t flags, int node)", slab.kvmalloc_node),
    ("void *krealloc_node_align(const void *p, size_t size, unsigned long align)", slab.krealloc),
    ("void *kvrealloc_node_align(const void *p, size_t size, unsigned long align)", slab.kvrealloc_noprof),
    (
        "void *__kmalloc_cache_node(struct kmem_cache *s, gfp_t flags, int node, size_t size)",
        slab.kmalloc_node_trace,
    ),
    (
        "void *kmem_cache_alloc_node_trace(struct kmem_cache *s, gfp_t flags, int node, size_t size)",
        slab.kmalloc_node_trace,
    ),
):
    frontier.replace(_prototype, _HEAP)(_handler)


@frontier.replace(
    "struct kmem_cache *__kmem_cache_create_args(const char *name, unsigned int object_size,"
    " struct kmem_cache_args *args, slab_flags_t flags)",
    _HEAP,
)
def __kmem_cache_create_args(kernel: KernelCore, name: str, object_size: int, args: int, flags: int) -> int:
    """kmem_cache_create_usercopy() with a structure for all that is rarely given (mm/slab_common.c)."""
    wish = kernel.view("kmem_cache_args", args)
    return slab.kmem_cache_create_usercopy(
        kernel, name, object_size, wish.align, flags, wish.useroffset, wish.usersize, wish.get("ctor")
    )


frontier.nothing(_HEAP, "kmem_cache_init_late")


@frontier.replace("void kmem_cache_init(void)", _HEAP)
def kmem_cache_init(kernel: VmlinuxKernel) -> None:
    """The table of kmalloc()'s caches (mm/slub.c)."""
    types = kernel.symbol_size("kmalloc_caches") // (8 * len(slab.KMALLOC_SIZES))
    slab.fill_kmalloc_caches(kernel, kernel.symbol("kmalloc_caches"), types)


@frontier.replace(
    "void *__kmalloc_node_track_caller(size_t size, gfp_t flags, int node, unsigned long caller)", _HEAP
)
def __kmalloc_node_track_caller(kernel: KernelCore, size: int, flags: int, node: int, caller: int) -> int:
    """kmalloc() for somebody else (mm/slab_common.c)."""
    return kernel.heap.kmalloc(size)


@frontier.replace(
    "kmem_buckets *kmem_buckets_create(const char *name, slab_flags_t flags, unsigned int useroffset,"
    " unsigned int usersize, void (*ctor)(void *))",
    _HEAP,
)
def kmem_buckets_create(
    kernel: KernelCore, name: str, flags: int, useroffset: int, usersize: int, ctor: int
) -> int:
    """Nobody gets caches apart from others', as where that is not configured (mm/slab_common.c)."""
    return slab.ZERO_SIZE_PTR


@frontier.replace("size_t __ksize(const void *object)", _HEAP)
def __ksize(kernel: KernelCore, object: int) -> int:
    """Usable size of an object (mm/slab_common.c)."""
    return slab.ksize(kernel, object)


# --- areas --------------------------------------------------------------------------------------------

frontier.shared(
    _AREAS,
    "vmalloc_to_page vmalloc_to_pfn vmap vunmap vm_map_ram vm_unmap_ram ioremap ioremap_wc ioremap_uc"
    " ioremap_cache ioremap_prot iounmap",
)
frontier.nothing(
    _AREAS,
    "vmalloc_init flush_tlb_all flush_tlb_kernel_range flush_tlb_one_kernel vm_unmap_aliases"
    " early_memunmap init_espfix_bsp pti_init free_initmem",
)


@frontier.replace("void *early_memremap(resource_size_t phys_addr, unsigned long size)", _AREAS)
def early_memremap(kernel: KernelCore, phys_addr: int, size: int) -> int:
    """Look at memory before areas can be mapped, such as firmware's tables (mm/early_ioremap.c)."""
    return kernel.direct_address(phys_addr)


@frontier.replace("void mark_rodata_ro(void)", _AREAS)
def mark_rodata_ro(kernel: VmlinuxKernel) -> None:
    """Code and constants are as they will stay (arch/x86/mm/init_64.c)."""
    rodata = range(kernel.symbol("__start_rodata"), kernel.symbol("__end_rodata"))
    make_read_only(kernel.vmlinux, kernel.memory, rodata)


def _define_vfree() -> None:
    for name in ("vfree", "vfree.part.0", "vfree_atomic"):

        @frontier.replace(f"void {name}(const void *addr)", _AREAS)
        def vfree(kernel: VmlinuxKernel, addr: int) -> None:
            """Free an area, of data or of a module (mm/vmalloc.c)."""
            kernel.areas.forget(addr)
            if addr >= kernel.modules_start and kernel.module_area.free(addr):
                return
            vmalloc.vfree(kernel, addr)


_define_vfree()


@frontier.replace(
    "void *__vmalloc_node_range(unsigned long size, unsigned long align, unsigned long start,"
    " unsigned long end, gfp_t gfp_mask, unsigned long prot, unsigned long vm_flags, int node, void *caller)",
    _AREAS,
)
def __vmalloc_node_range(
    kernel: KernelCore,
    size: int,
    align: int,
    start: int,
    end: int,
    gfp: int,
    prot: int,
    flags: int,
    node: int,
    caller: int,
) -> int:
    """Virtually contiguous memory; between the addresses of modules it is that of modules (mm/vmalloc.c)."""
    area = kernel.module_area if start >= kernel.modules_start else kernel.vmalloc
    return area.allocate(size, READ | WRITE, max(align, PAGE_SIZE))


def _vmalloc(kernel: KernelCore, size: int) -> int:
    """Virtually contiguous memory, where __vmalloc_node_range() is inlined (mm/vmalloc.c)."""
    return kernel.vmalloc.allocate(size)


for _name in ("vmalloc", "vzalloc", "vmalloc_node", "vzalloc_node", "vmalloc_user", "vmalloc_32",
              "vmalloc_32_user", "__vmalloc", "__vmalloc_node"):  # fmt: skip
    frontier.replace(f"void *{_name}(unsigned long size)", _AREAS)(_vmalloc)


@frontier.replace("void *execmem_cache_alloc_locked(struct execmem_range *range, size_t size)", _AREAS)
def execmem_cache_alloc_locked(kernel: KernelCore, range: int, size: int) -> int:
    """Memory for code: an area of its own, and no part of a large page that many share (mm/execmem.c)."""
    protection = kernel.memory.read_u64(range + kernel.profile.offset("execmem_range", "pgprot"))
    perms = READ | (WRITE if protection & _PAGE_RW else 0) | (0 if protection & _PAGE_NX else EXEC)
    return kernel.module_area.allocate(size, perms, PAGE_SIZE)


@frontier.replace("struct vm_struct *find_vm_area(const void *addr)", _AREAS)
def find_vm_area(kernel: VmlinuxKernel, addr: int) -> int:
    """The description of an area, made when somebody asks for it (mm/vmalloc.c)."""
    return kernel.areas.describe(addr)


@frontier.replace(
    "int change_page_attr_set_clr(unsigned long *addr, int numpages, u64 mask_set, u64 mask_clr,"
    " int force_split, int in_flag, void *pages)",
    _AREAS,
)
def change_page_attr_set_clr(
    kernel: KernelCore,
    addr: int,
    numpages: int,
    mask_set: int,
    mask_clr: int,
    force: int,
    in_flag: int,
    pages: int,
) -> int:
    """What set_memory_ro() and its kin come down to (arch/x86/mm/pat/set_memory.c)."""
    if in_flag & _ARRAYS:
        return 0
    start = kernel.memory.read_u64(addr)
    end = start + numpages * PAGE_SIZE
    try:
        arena = kernel.memory.arena_of(start)
    except LookupError:
        return 0
    if arena.base == PAGE_OFFSET:
        return 0
    before = arena.perms[(start - arena.base) >> PAGE_SHIFT : (end - arena.base) >> PAGE_SHIFT]
    for perms, same in groupby(before):
        size = PAGE_SIZE * sum(1 for _ in same)
        if (wanted := _changed(perms, mask_set, mask_clr)) != perms:
            kernel.memory.protect(start, size, wanted)
        start += size
    return 0


def _changed(perms: int, mask_set: int, mask_clr: int) -> int:
    """Permissions after bits of a page table entry have changed."""
    if mask_clr & _PAGE_RW:
        perms &= ~WRITE
    if mask_set & _PAGE_RW:
        perms |= WRITE
    if mask_clr & _PAGE_NX:
        perms |= EXEC
    if mask_set & _PAGE_NX:
        perms &= ~EXEC
    return perms


# --- per-CPU memory -----------------------------------------------------------------------------------

frontier.shared(_PERCPU, "free_percpu")


@frontier.replace("void *pcpu_alloc(size_t size, size_t align, bool reserved, gfp_t gfp)", _PERCPU)
def pcpu_alloc(kernel: KernelCore, size: int, align: int, reserved: int, gfp: int) -> int:
    """Allocate a per-CPU variable (mm/percpu.c)."""
    return kernel.percpu.allocate(size, max(align, 8), reserved=bool(reserved))


@frontier.replace("bool __is_kernel_percpu_address(unsigned long addr, unsigned long *can_addr)", _PERCPU)
def __is_kernel_percpu_address(kernel: KernelCore, addr: int, can_addr: int) -> int:
    """Whether an address is of the kernel's own per-CPU variables (mm/percpu.c)."""
    offset = addr - kernel.percpu.base
    if not 0 <= offset < kernel.profile.static_percpu_size:
        return 0
    if can_addr:
        kernel.memory.write_u64(can_addr, offset + kernel.percpu.base)
    return 1


frontier.nothing(_PERCPU, "setup_per_cpu_areas setup_per_cpu_pageset")
frontier.answers(_PERCPU, "percpu_enable_async")


frontier.nothing("nothing looks at statistics every second: all could sleep then", "vmstat_shepherd")

# --- before there is a heap ---------------------------------------------------------------------------


@frontier.replace(
    "void *memblock_alloc_internal(u64 size, u64 align, u64 min, u64 max, int nid, bool exact)", _PAGES
)
def memblock_alloc_internal(
    kernel: KernelCore, size: int, align: int, min: int, max: int, nid: int, exact: int
) -> int:
    """Memory before there is a heap (mm/memblock.c)."""
    return kernel.heap.kmalloc(size)


frontier.answers(_PAGES, "memblock_phys_free stack_depot_early_init")
frontier.nothing(
    _PAGES,
    "memblock_free memblock_free_late mem_init mem_init_print_info page_alloc_init"
    " build_all_zonelists poking_init kfence_init"
    " page_ext_init memblock_free_all",
)


@frontier.replace("void mm_core_init_early(void)", _PAGES)
async def mm_core_init_early(kernel: KernelCore) -> None:
    """No zones are made, but lists of huge pages are empty (mm/mm_init.c)."""
    await kernel.call_guest(kernel.symbol("hugetlb_bootmem_alloc"))


@frontier.replace(
    "void *alloc_large_system_hash(const char *tablename, unsigned long bucketsize, unsigned long numentries,"
    " int scale, int flags, unsigned int *_hash_shift, unsigned int *_hash_mask, unsigned long low_limit,"
    " unsigned long high_limit)",
    _PAGES,
)
def alloc_large_system_hash(
    kernel: KernelCore,
    tablename: int,
    bucketsize: int,
    numentries: int,
    scale: int,
    flags: int,
    shift: int,
    mask: int,
    low_limit: int,
    high_limit: int,
) -> int:
    """A table of 4,096 buckets, unless the caller has limits: the machine is small (mm/page_alloc.c)."""
    count = max(min(1 << _HASH_BITS, high_limit or 1 << _HASH_BITS), low_limit)
    bits = (count - 1).bit_length()
    if shift:
        kernel.memory.write_u32(shift, bits)
    if mask:
        kernel.memory.write_u32(mask, (1 << bits) - 1)
    return kernel.vmalloc.allocate(bucketsize << bits)
