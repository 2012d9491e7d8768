"""The kernel heap: kmalloc and kmem_cache (mm/slub.c, mm/slab_common.c).

Objects of one cache are carved from blocks of pages and reused last-freed first, as SLUB does. Fresh memory
is zeroed, since Debian boots with INIT_ON_ALLOC_DEFAULT_ON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from kmod_emu.kernel.exports import Fidelity, export, export_data
from kmod_emu.kernel.plain import Table
from kmod_emu.kernel.slab_reports import not_from_a_cache, objects_remain, warn_of_order, wrong_cache
from kmod_emu.machine.memory import PAGE_SHIFT, PAGE_SIZE, Access, PageFault

if TYPE_CHECKING:
    from collections.abc import Callable

    from kmod_emu.kernel.kernel import KernelCore

    class Guards(Protocol):
        """Memory with guards around it, of which the heap knows no more."""

        def allocate(self, size: int) -> int:
            """Some, or 0."""

        def end(self, address: int) -> int:
            """Where its pages end; 0 if it is none."""

        def start(self, address: int) -> int:
            """Where its pages begin; 0 if it is none."""

        def object_at(self, address: int) -> int:
            """What an address is in, in use or freed; 0 for none."""

        def free(self, address: int) -> bool:
            """Whether it was some."""


# kmalloc_caches[type][index]: 1 and 2 are 96 and 192 bytes, the others powers of two (mm/slab_common.c).
KMALLOC_SIZES = (0, 96, 192, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
KMALLOC_TYPES = 4  # NORMAL, RECLAIM, DMA, CGROUP on Debian's configuration of 6.1
KMALLOC_MAX_CACHE_SIZE = 8192
ZERO_SIZE_PTR = 16
_SLAB_HWCACHE_ALIGN, _CACHE_LINE = 0x2000, 64
_BY_SIZE = sorted(KMALLOC_SIZES[1:])
RED = b"\xcc" * 64  # what is between objects (mm/slub.c: SLUB_RED_ACTIVE)
_BEFORE = 8  # bytes of it in front of the next object
_ROOM_FOR_RED = 16 << 20  # bytes of RAM that may go into objects with a red zone of their own


class Cache:
    """One kmem_cache: free objects of one size.

    Attributes:
        key: What slabs know it by: the size of kmalloc's, negative for those with a red zone; the address of
            another's struct.
    """

    def __init__(self, name: str, size: int, align: int = 8, *, key: int) -> None:
        self.name, self.size, self.key = name, size, key
        self.user = (0, 0)  # offset and size of what may be copied from and to programs
        self.stride = max((size + align - 1) & -align, 8)
        self.free: list[int] = []
        self.contents = b""  # of new objects and what is behind them

    @property
    def order(self) -> int:
        """Pages of one slab, as a power of two: room for eight objects, at most eight pages."""
        pages = -(-min(self.stride * 8, 8 * PAGE_SIZE) // PAGE_SIZE)
        return max((pages - 1).bit_length(), ((self.stride - 1) >> PAGE_SHIFT).bit_length())

    def fill(self, spaced: bool = False) -> bytes:
        """What new objects hold and what is behind them: zeros, or a red zone in the room between them."""
        self.contents = bytes(self.stride)
        if spaced:
            zone = RED[: self.stride - self.size]
            self.contents = bytes(self.size) + zone + bytes(self.stride - self.size - len(zone))
            self.contents = self.contents[:-_BEFORE] + RED[:_BEFORE]
        return self.contents

    @property
    def slab_size(self) -> int:
        """Bytes of one slab, which begins at a multiple of that."""
        return PAGE_SIZE << self.order


class Heap:
    """All caches, and what every live object belongs to."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.caches = {size: Cache(_bucket_name(size), size, size & -size, key=size) for size in _BY_SIZE}
        for size, cache in self.caches.items():
            cache.user = (0, size)
        self._slabs = Table()  # block of pages -> key of the cache it belongs to
        self.named: dict[int, Cache] = {}  # by address of the guest's struct kmem_cache
        self.constructors: dict[int, int] = {}  # struct kmem_cache -> guest function
        self.live = Table()  # object -> requested size
        self.owner = Table()  # object of kmem_cache_alloc -> its struct kmem_cache
        # Set by checkers: told what memory of a module's is freed, and its size; asked for memory first;
        # whether objects that fill theirs are to have a red zone behind them.
        self.freeing: Callable[[int, Any, int], None] = lambda address, record, size: None
        self.guards: Guards | None = None
        self.red = False
        self._spaced: dict[int, Cache] = {}  # for objects that fill theirs: by size, with as much room behind
        self.slots: set[int] = set()  # of these caches
        self.plain: dict[int, bytes] = {}  # what is behind objects of kmalloc's other caches, by size
        self.slab_pages = 0  # pages in caches, which stay there when their objects are freed

    def kmalloc(self, size: int) -> int:
        """Address of `size` zeroed bytes; ZERO_SIZE_PTR for 0 bytes; 0 if memory is used up."""
        if size == 0:
            return ZERO_SIZE_PTR
        if not self._kernel.usage.may_have(len(self.live)):
            return 0
        if self.guards is not None and (address := self.guards.allocate(size)):
            self.live[address] = size
            return address
        if size > KMALLOC_MAX_CACHE_SIZE:
            address = self._kernel.pages.allocate(((size - 1) >> PAGE_SHIFT).bit_length())
            if address:
                self.live[address] = size
            return address
        for bucket in _BY_SIZE:
            if size <= bucket:
                spaced = self._take_spaced(size) if size == bucket and self.red else 0
                return spaced or self._take(self.caches[bucket], size)
        raise AssertionError(size)

    def _take_spaced(self, size: int) -> int:
        """An object with room for a red zone behind it; 0 if too much memory went into these."""
        cache = self._spaced.get(size) or self._space(size)
        if not cache.free and len(self.slots) * cache.stride > _ROOM_FOR_RED:
            return 0
        address = self._take(cache, size)
        if address not in self.slots:
            self.slots.update((address, *cache.free))
        return address

    def cache_alloc(self, cachep: int) -> int:
        """One zeroed object of the cache whose struct is at `cachep`; 0 if memory is used up.

        Raises:
            PageFault: There is no such cache.
        """
        cache = self.named.get(cachep)
        if cache is None:
            raise PageFault(cachep, Access.READ)
        if not self._kernel.usage.may_have(len(self.live)):
            return 0
        address = self.guards.allocate(cache.size) if self.guards is not None else 0
        if address:
            self.live[address] = cache.size
        else:
            address = self._take(cache, cache.size)
        if address:
            self.owner[address] = cachep
        return address

    def _space(self, size: int) -> Cache:
        cache = self._spaced[size] = Cache(_bucket_name(size), size, 2 * (size & -size), key=-size)
        cache.user = (0, size)
        cache.fill(spaced=True)
        return cache

    def _take(self, cache: Cache, size: int) -> int:
        if cache.free:
            address = cache.free.pop()
        else:
            block = self._kernel.pages.allocate(cache.order)
            if not block:
                return 0
            self.slab_pages += 1 << cache.order
            self._slabs[block] = cache.key
            count = (PAGE_SIZE << cache.order) // cache.stride
            cache.free = [block + index * cache.stride for index in range(count - 1, 0, -1)]
            address = block
        self._kernel.memory.write(address, cache.contents or cache.fill())
        self.live[address] = size
        return address

    def behind(self, address: int, size: int) -> bytes:
        """What has to be behind an object in use: as much as is known."""
        if self.guards is not None and (end := self.guards.end(address)):
            return RED[: end - address - size]
        cachep = self.owner.get(address)
        if cachep is not None:
            cache = self.named.get(cachep)
            return bytes(min(cache.stride - size, len(RED))) if cache else b""
        if address in self.slots:
            room = self._spaced[size].stride - size
            return RED[: room if room < 2 * _BEFORE else room - _BEFORE]
        if size > KMALLOC_MAX_CACHE_SIZE:
            return b""
        zeros = self.plain[size] = bytes(min(self._bucket(size).size - size, len(RED)))
        return zeros

    def before(self, address: int) -> bytes:
        """What has to be in front of an object in use."""
        if self.guards is not None and (start := self.guards.start(address)):
            return RED[: min(address - start, _BEFORE)]
        if address not in self.slots:
            return b""
        cache = self._spaced[self.live[address]]
        first = address & -cache.slab_size == address
        return b"" if first or cache.stride - cache.size < 2 * _BEFORE else RED[:_BEFORE]

    def use_all(self, address: int) -> int:
        """Usable bytes of an object, which are used from now on."""
        usable = self.ksize(address)
        if address in self.live:
            self.live[address] = usable
        return usable

    def kfree(self, address: int) -> bool:
        """Free an object of any cache; NULL and ZERO_SIZE_PTR are fine. False if there is no such object."""
        if address <= ZERO_SIZE_PTR:
            return True
        size = self.live.get(address)
        if size is None:
            return False
        record = self._kernel.allocations.pop(address, None)
        if record is not None:
            self.freeing(address, record, size)
        del self.live[address]
        cachep = self.owner.pop(address, None)
        if self.guards is not None and self.guards.free(address):
            return True
        if cachep is not None:
            if cachep in self.named:
                self.named[cachep].free.append(address)
        elif size > KMALLOC_MAX_CACHE_SIZE:
            self._kernel.pages.free(address)
        else:
            cache = self._spaced[size] if address in self.slots else self._bucket(size)
            cache.free.append(address)
        return True

    def owner_of(self, address: int) -> int:
        """The object in use that holds an address, with pages of its own or in a slab; 0 for none."""
        if address in self.live:
            return address
        if self.guards is not None and (place := self.guards.object_at(address)) in self.live:
            return place
        block, _ = self._kernel.pages.block_of(address) or (0, 0)
        cache = self.slab_of(block)
        place = address - (address - block) % cache.stride if cache else block
        return place if place in self.live else 0

    def cache_of(self, address: int) -> Cache | None:
        """The cache that an object in use belongs to, None for none."""
        cachep = self.owner.get(address)
        if cachep is not None:
            return self.named.get(cachep)
        size = self.live.get(address, KMALLOC_MAX_CACHE_SIZE + 1)
        return None if size > KMALLOC_MAX_CACHE_SIZE else self._bucket(size)

    def objects_of(self, cachep: int) -> list[int]:
        """Objects in use of a module's cache, in order."""
        return sorted(place for place, owner in self.owner.items() if owner == cachep)

    def was_freed(self, address: int) -> bool:
        """Whether a free object of a cache is at an address."""
        caches = (*self.caches.values(), *self._spaced.values(), *self.named.values())
        return any(address in cache.free for cache in caches)

    def slab_of(self, block: int) -> Cache | None:
        """The cache that a block of pages belongs to, None if it is no slab."""
        key = self._slabs.get(block)
        if key is None:
            return None
        if key < 0:
            return self._spaced[-key]
        return self.caches.get(key) or self.named.get(key) or _GONE

    def destroy(self, cachep: int) -> None:
        """Remove a cache that nobody has objects of; its slabs stay."""
        del self.named[cachep]
        for block in [block for block, key in self._slabs.items() if key == cachep]:
            self._slabs[block] = 0
        self.constructors.pop(cachep, None)
        self.kfree(cachep)

    def _bucket(self, size: int) -> Cache:
        return next(self.caches[bucket] for bucket in _BY_SIZE if size <= bucket)

    def ksize(self, address: int) -> int:
        """Usable bytes of an object."""
        size = self.live.get(address, 0)
        if address in self.owner or (self.guards is not None and self.guards.end(address)):
            return size
        return size if size > KMALLOC_MAX_CACHE_SIZE or not size else self._bucket(size).size

    def save(self) -> Any:
        """State for a snapshot or file."""
        return {
            "free": [(size, list(cache.free)) for size, cache in self.caches.items()],
            "spaced": [(size, list(cache.free)) for size, cache in self._spaced.items()],
            "slots": self.slots.copy(),
            "constructors": list(self.constructors.items()),
            "named": [
                (address, cache.name, cache.size, cache.stride, list(cache.free), list(cache.user))
                for address, cache in self.named.items()
                if self.caches.get(cache.size) is not cache
            ],
            "live": self.live.keep(),
            "owner": self.owner.keep(),
            "slab_pages": self.slab_pages,
            "slabs": self._slabs.keep(),
        }

    def load(self, state: Any) -> None:
        """Put saved state back."""
        for size, free in state["free"]:
            self.caches[size].free = list(free)
        self._spaced = {}
        for size, free in state["spaced"]:
            self._space(size).free = list(free)
        self.slots = set(state["slots"])
        before = self.named
        self.named = {a: c for a, c in before.items() if self.caches.get(c.size) is c}
        for address, name, size, stride, free, user in state["named"]:
            cache = before.get(address)
            if cache is None or (cache.name, cache.size, cache.stride) != (name, size, stride):
                cache = Cache(name, size, key=address)
            self.named[address] = cache
            cache.stride, cache.free, cache.user = stride, list(free), (user[0], user[1])
        self.constructors = dict(state["constructors"])
        self.live.put_back(state["live"])
        self.owner.put_back(state["owner"])
        self._slabs.put_back(state["slabs"])
        self.slab_pages = state["slab_pages"]


_GONE = Cache("", KMALLOC_SIZES[1], key=0)  # stands for all that were destroyed


def _bucket_name(size: int) -> str:
    return f"kmalloc-{size}" if size < 1024 else f"kmalloc-{size >> 10}k"


@export_data("struct kmem_cache *kmalloc_caches[][]", KMALLOC_TYPES * len(KMALLOC_SIZES) * 8)
def kmalloc_caches(kernel: KernelCore, address: int) -> None:
    """The table that inlined kmalloc() indexes."""
    fill_kmalloc_caches(kernel, address, KMALLOC_TYPES)


def fill_kmalloc_caches(kernel: KernelCore, address: int, types: int) -> None:
    """The same where the kernel has another number of types; all share one set of caches."""
    for index, size in enumerate(KMALLOC_SIZES):
        if size:
            cache = kernel.heap.kmalloc(kernel.profile.struct("kmem_cache").size)
            kernel.heap.named[cache] = kernel.heap.caches[size]
            view = kernel.view("kmem_cache", cache)
            view.size = view.object_size = size
            for kind in range(types):
                kernel.memory.write_u64(address + (kind * len(KMALLOC_SIZES) + index) * 8, cache)


@export("void *__kmalloc(size_t size, gfp_t flags)")
def __kmalloc(kernel: KernelCore, size: int, flags: int) -> int:
    """Allocate kernel memory (mm/slab_common.c)."""
    warn_of_order(kernel, size, flags)
    return kernel.heap.kmalloc(size)


@export("void *__kmalloc_node(size_t size, gfp_t flags, int node)")
def __kmalloc_node(kernel: KernelCore, size: int, flags: int, node: int) -> int:
    """Allocate on a NUMA node; there is one (mm/slab_common.c)."""
    return kernel.heap.kmalloc(size)


@export("void *__kmalloc_node_track_caller(size_t size, gfp_t flags, int node, unsigned long caller)")
def __kmalloc_node_track_caller(kernel: KernelCore, size: int, flags: int, node: int, caller: int) -> int:
    """__kmalloc for a caller that has it done by another function (mm/slab_common.c)."""
    return __kmalloc(kernel, size, flags)


@export("void *kmalloc_trace(struct kmem_cache *s, gfp_t gfpflags, size_t size)")
def kmalloc_trace(kernel: KernelCore, s: int, gfpflags: int, size: int) -> int:
    """Kmalloc of a constant size from its cache (mm/slab_common.c)."""
    return kernel.heap.kmalloc(size)


@export("void *__kmalloc_cache_noprof(struct kmem_cache *s, gfp_t gfpflags, size_t size)")
def __kmalloc_cache_noprof(kernel: KernelCore, s: int, gfpflags: int, size: int) -> int:
    """kmalloc_trace's name since the allocation profiling of 6.10 (mm/slub.c)."""
    return kernel.heap.kmalloc(size)


@export("void *__kmalloc_noprof(size_t size, gfp_t flags)")
def __kmalloc_noprof(kernel: KernelCore, size: int, flags: int) -> int:
    """__kmalloc's name since 6.10 (mm/slub.c)."""
    return kernel.heap.kmalloc(size)


@export("void *kmem_cache_alloc_trace(struct kmem_cache *s, gfp_t gfpflags, size_t size)")
def kmem_cache_alloc_trace(kernel: KernelCore, s: int, gfpflags: int, size: int) -> int:
    """kmalloc_trace's name before 6.1 (mm/slub.c)."""
    return kernel.heap.kmalloc(size)


@export("void *kmalloc_large(size_t size, gfp_t flags)")
def kmalloc_large(kernel: KernelCore, size: int, flags: int) -> int:
    """Kmalloc of more than two pages (mm/slab_common.c)."""
    warn_of_order(kernel, size, flags)
    return kernel.heap.kmalloc(size)


@export("void *kvmalloc_node(size_t size, gfp_t flags, int node)", Fidelity.APPROXIMATE)
def kvmalloc_node(kernel: KernelCore, size: int, flags: int, node: int) -> int:
    """kmalloc, or vmalloc where that fails (mm/util.c)."""
    return (kernel.heap.kmalloc(size) if size <= PAGE_SIZE else 0) or kernel.vmalloc.allocate(size)


@export("void *krealloc(const void *p, size_t new_size, gfp_t flags)")
def krealloc(kernel: KernelCore, p: int, new_size: int, flags: int) -> int:
    """Resize, keeping the contents (mm/slab_common.c)."""
    if new_size == 0:
        kernel.heap.kfree(p)
        return ZERO_SIZE_PTR
    usable = kernel.heap.ksize(p) if p > ZERO_SIZE_PTR else 0
    if usable >= new_size:
        kernel.heap.live[p] = max(kernel.heap.live[p], new_size)
        return p
    fresh = kernel.heap.kmalloc(new_size)
    if fresh and usable:
        kernel.memory.write(fresh, kernel.memory.read(p, usable))
        kernel.heap.kfree(p)
    return fresh


@export("size_t ksize(const void *objp)")
def ksize(kernel: KernelCore, objp: int) -> int:
    """Usable size of an object (mm/slab_common.c)."""
    return kernel.heap.use_all(objp)


@export("void kfree(const void *object)")
def kfree(kernel: KernelCore, object: int) -> None:
    """Free what kmalloc gave (mm/slab_common.c); a pointer that is no object is a bug of the caller's."""
    if kernel.heap.kfree(object):
        return
    if kernel.heap.slab_of(object) is None and kernel.pages.free(object):
        not_from_a_cache(kernel, object)
    else:
        kernel.oopses.bad_free("kfree", object)


@export("void kfree_sensitive(const void *p)")
def kfree_sensitive(kernel: KernelCore, p: int) -> None:
    """Clear, then free (mm/slab_common.c)."""
    if size := kernel.heap.live.get(p):
        kernel.memory.clear(p, size)
    kfree(kernel, p)


@export("void kvfree(const void *addr)")
def kvfree(kernel: KernelCore, addr: int) -> None:
    """Free what kvmalloc gave (mm/util.c)."""
    if addr and not kernel.vmalloc.free(addr):
        kfree(kernel, addr)


@export("char *kstrdup(const char *s, gfp_t gfp)")
def kstrdup(kernel: KernelCore, s: int, gfp: int) -> int:
    """Copy a string to the heap (mm/util.c)."""
    return _duplicate(kernel, kernel.memory.read_cstring(s, 1 << 22) + b"\0") if s else 0


@export("char *kstrndup(const char *s, size_t max, gfp_t gfp)")
def kstrndup(kernel: KernelCore, s: int, max: int, gfp: int) -> int:
    """Copy at most `max` characters to the heap (mm/util.c)."""
    return _duplicate(kernel, kernel.memory.read_cstring(s, max) + b"\0") if s else 0


@export("void *kmemdup(const void *src, size_t len, gfp_t gfp)")
def kmemdup(kernel: KernelCore, src: int, len: int, gfp: int) -> int:
    """Copy bytes to the heap (mm/util.c)."""
    return _duplicate(kernel, kernel.memory.read(src, len))


def _duplicate(kernel: KernelCore, data: bytes) -> int:
    address = kernel.heap.kmalloc(len(data))
    if address:
        kernel.memory.write(address, data)
    return address


@export(
    "struct kmem_cache *kmem_cache_create(const char *name, unsigned int size, unsigned int align,"
    " slab_flags_t flags, void (*ctor)(void *))"
)
def kmem_cache_create(kernel: KernelCore, name: str, size: int, align: int, flags: int, ctor: int) -> int:
    """Create a cache whose objects are not for programs (mm/slab_common.c)."""
    return kmem_cache_create_usercopy(kernel, name, size, align, flags, 0, 0, ctor)


@export(
    "struct kmem_cache *kmem_cache_create_usercopy(const char *name, unsigned int size, unsigned int align,"
    " slab_flags_t flags, unsigned int useroffset, unsigned int usersize, void (*ctor)(void *))"
)
def kmem_cache_create_usercopy(
    kernel: KernelCore,
    name: str,
    size: int,
    align: int,
    flags: int,
    useroffset: int,
    usersize: int,
    ctor: int,
) -> int:
    """Create a cache; a part of its objects may be copied from and to programs (mm/slab_common.c)."""
    address = kernel.heap.kmalloc(kernel.profile.struct("kmem_cache").size)
    if address:
        if flags & _SLAB_HWCACHE_ALIGN:
            line = _CACHE_LINE
            while size <= line // 2:
                line //= 2
            align = max(align, line)
        kernel.heap.named[address] = cache = Cache(name, size, max(align & -align, 8), key=address)
        cache.user = (useroffset, usersize)
        view = kernel.view("kmem_cache", address)
        view.size, view.object_size = cache.stride, size
        if ctor:
            kernel.heap.constructors[address] = ctor
    return address


@export("void *kmem_cache_alloc(struct kmem_cache *cachep, gfp_t flags)")
def kmem_cache_alloc(kernel: KernelCore, cachep: int, flags: int) -> int:
    """Allocate an object, constructed if the cache has a constructor (mm/slub.c)."""
    address = kernel.heap.cache_alloc(cachep)
    if address and cachep in kernel.heap.constructors:
        kernel.traps.then_call(kernel.heap.constructors[cachep])
    return address


async def alloc_object(kernel: KernelCore, cachep: int) -> int:
    """The same for coroutines: it is constructed when this is over."""
    address = kernel.heap.cache_alloc(cachep)
    if address and cachep in kernel.heap.constructors:
        await kernel.call_guest(kernel.heap.constructors[cachep], address)
    return address


@export("void kmem_cache_free(struct kmem_cache *s, void *x)")
def kmem_cache_free(kernel: KernelCore, s: int, x: int) -> None:
    """Give an object back to its own cache; another one is warned of (mm/slab.h: cache_from_obj)."""
    heap = kernel.heap
    own, given = heap.cache_of(x), heap.named.get(s)
    if own is not None and given is not None and own is not given:
        wrong_cache(kernel, given.name, own.name)
    if not heap.kfree(x):
        kernel.oopses.bad_free("kmem_cache_free", x)


@export("void kmem_cache_destroy(struct kmem_cache *s)")
def kmem_cache_destroy(kernel: KernelCore, s: int) -> None:
    """Remove a cache; one with objects in use stays (mm/slab_common.c)."""
    heap = kernel.heap
    if left := heap.objects_of(s):
        slabs: dict[int, list[int]] = {}
        for place in left:
            slabs.setdefault(place & -heap.named[s].slab_size, []).append(place)
        caller = kernel.memory.read_u64(kernel.traps.stack_pointer)
        objects_remain(kernel, heap.named[s], slabs, caller)
        return
    if s in kernel.heap.named:
        heap.destroy(s)


@export("unsigned int kmem_cache_size(struct kmem_cache *s)")
def kmem_cache_size(kernel: KernelCore, s: int) -> int:
    """The size of a cache's objects (mm/slab_common.c)."""
    return kernel.view("kmem_cache", s).object_size


@export("int kmem_cache_shrink(struct kmem_cache *cachep)")
def kmem_cache_shrink(kernel: KernelCore, cachep: int) -> int:
    """Give free memory back: 0 (mm/slab_common.c)."""
    return 0


@export("void *kmem_cache_alloc_node(struct kmem_cache *s, gfp_t gfpflags, int node)")
def kmem_cache_alloc_node(kernel: KernelCore, s: int, gfpflags: int, node: int) -> int:
    """kmem_cache_alloc on a NUMA node; there is one (mm/slub.c)."""
    return kmem_cache_alloc(kernel, s, gfpflags)


@export("void *kmem_cache_alloc_lru(struct kmem_cache *s, struct list_lru *lru, gfp_t gfpflags)")
def kmem_cache_alloc_lru(kernel: KernelCore, s: int, lru: int, gfpflags: int) -> int:
    """kmem_cache_alloc of an object that will be on a list_lru (mm/slub.c)."""
    return kmem_cache_alloc(kernel, s, gfpflags)


@export("int kmem_cache_alloc_bulk(struct kmem_cache *s, gfp_t flags, size_t nr, void **p)")
async def kmem_cache_alloc_bulk(kernel: KernelCore, s: int, flags: int, nr: int, p: int) -> int:
    """Many objects at once: all, or 0 (mm/slub.c)."""
    for index in range(nr):
        address = await alloc_object(kernel, s)
        if not address:
            kmem_cache_free_bulk(kernel, s, index, p)
            return 0
        kernel.memory.write_u64(p + 8 * index, address)
    return nr


@export("void kmem_cache_free_bulk(struct kmem_cache *s, size_t nr, void **p)")
def kmem_cache_free_bulk(kernel: KernelCore, s: int, nr: int, p: int) -> None:
    """Free many objects; without a cache, of any (mm/slub.c)."""
    for index in range(nr):
        kmem_cache_free(kernel, s, kernel.memory.read_u64(p + 8 * index))


@export("void *kmalloc_node_trace(struct kmem_cache *s, gfp_t gfpflags, int node, size_t size)")
def kmalloc_node_trace(kernel: KernelCore, s: int, gfpflags: int, node: int, size: int) -> int:
    """kmalloc_trace on a NUMA node (mm/slab_common.c)."""
    return kernel.heap.kmalloc(size)


@export("void *kmalloc_large_node(size_t size, gfp_t flags, int node)")
def kmalloc_large_node(kernel: KernelCore, size: int, flags: int, node: int) -> int:
    """kmalloc_large on a NUMA node (mm/slab_common.c)."""
    return kernel.heap.kmalloc(size)


def _kvrealloc(kernel: KernelCore, p: int, old: int, size: int) -> int:
    fresh = kvmalloc_node(kernel, size, 0, 0)
    if fresh:
        kernel.memory.write(fresh, kernel.memory.read(p, min(old, size)))
        kvfree(kernel, p)
    return fresh


@export("void *kvrealloc(const void *p, size_t oldsize, size_t newsize, gfp_t flags)")
def kvrealloc(kernel: KernelCore, p: int, oldsize: int, newsize: int, flags: int) -> int:
    """Grow what kvmalloc gave; smaller is as before (mm/util.c)."""
    return p if oldsize >= newsize else _kvrealloc(kernel, p, oldsize, newsize)


@export("void *kvrealloc_noprof(const void *p, size_t size, gfp_t flags)")
def kvrealloc_noprof(kernel: KernelCore, p: int, size: int, flags: int) -> int:
    """Kvrealloc that knows the old size by itself, since 6.12 (mm/slub.c)."""
    if p <= ZERO_SIZE_PTR:
        return kvmalloc_node(kernel, size, 0, 0)
    area = kernel.vmalloc.area(p)
    old = area[1] if area else kernel.heap.ksize(p)
    if old < size:
        return _kvrealloc(kernel, p, old, size)
    if not area:
        kernel.heap.live[p] = max(kernel.heap.live[p], size)
    return p


@export(
    "void *kvrealloc_node_align_noprof(const void *p, size_t size, unsigned long align, gfp_t flags, int nid)"
)
def kvrealloc_node_align_noprof(
    kernel: KernelCore, p: int, size: int, align: int, flags: int, nid: int
) -> int:
    """kvrealloc_noprof's name in 7.x (mm/slub.c)."""
    return kvrealloc_noprof(kernel, p, size, flags)


@export("void kvfree_sensitive(const void *addr, size_t len)")
def kvfree_sensitive(kernel: KernelCore, addr: int, len: int) -> None:
    """Clear, then free (mm/util.c)."""
    if addr > ZERO_SIZE_PTR:
        kernel.memory.clear(addr, len)
        kvfree(kernel, addr)


@export("const char *kstrdup_const(const char *s, gfp_t gfp)")
def kstrdup_const(kernel: KernelCore, s: int, gfp: int) -> int:
    """Copy a string, unless it is constant text of the base kernel's (mm/util.c)."""
    return s if kernel.symbols.is_rodata(s) else kstrdup(kernel, s, gfp)


@export("void kfree_const(const void *x)")
def kfree_const(kernel: KernelCore, x: int) -> None:
    """Free what kstrdup_const gave (mm/util.c)."""
    if not kernel.symbols.is_rodata(x):
        kfree(kernel, x)
