"""Character devices: numbers, struct cdev, and opening one (fs/char_dev.c, drivers/base/map.c).

A cdev is either a `struct cdev` in guest memory or, for drivers that Python serves (`/dev/null`), the
`FileOperations` themselves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from kmod_emu.abi import lists
from kmod_emu.errors import KernelError
from kmod_emu.fs.guest_file import GuestFile, GuestOperations
from kmod_emu.kernel.exports import export, export_data
from kmod_emu.kernel.kobject import kobject_get_unless_zero
from kmod_emu.uapi import errno
from kmod_emu.uapi.stat import MINORMASK, major, minor, mkdev

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.fs.file import File, FileOperations
    from kmod_emu.fs.inode import Inode
    from kmod_emu.kernel.kernel import KernelCore

CHRDEV_MAJOR_MAX, CHRDEV_MAJOR_HASH_SIZE = 512, 255
_DYN_END, _DYN_EXT_START, _DYN_EXT_END = 234, 511, 384
_NAME_MAX = 63


class Region(NamedTuple):
    """A range of device numbers that somebody reserved: `struct char_device_struct`."""

    major: int
    baseminor: int
    minorct: int
    name: str
    cdev: int = 0  # register_chrdev() keeps its struct cdev here


class Probe(NamedTuple):
    """An entry of cdev_map: the cdev that serves a range of numbers."""

    dev: int
    range: int
    cdev: int | FileOperations


class CharDevices:
    """`chrdevs`, the reserved ranges, and `cdev_map`, who serves them."""

    def __init__(self, kernel: KernelCore) -> None:
        self._kernel = kernel
        self.buckets: list[list[Region]] = [[] for _ in range(CHRDEV_MAJOR_HASH_SIZE)]
        self.probes: list[list[Probe]] = [[] for _ in range(CHRDEV_MAJOR_HASH_SIZE)]
        self._operations = GuestOperations(kernel)
        self.inodes: dict[int, list[int]] = {}  # cdev -> guest inodes whose i_cdev it is

    # --- reserved numbers ---------------------------------------------------------------------------

    def __iter__(self) -> Iterator[Region]:
        """All ranges, as /proc/devices lists them."""
        return iter(sorted((r for bucket in self.buckets for r in bucket), key=lambda region: region.major))

    def reserve(self, wanted: int, baseminor: int, minorct: int, name: str, cdev: int = 0) -> Region:
        """__register_chrdev_region(); a `wanted` major of 0 means any.

        Raises:
            KernelError: EINVAL, numbers out of range; EBUSY.
        """
        self._check_range(wanted, baseminor, minorct, name)
        number = wanted or self._dynamic_major(name)
        region = Region(number, baseminor, minorct, name.encode()[:_NAME_MAX].decode("utf-8", "ignore"), cdev)
        bucket = self.buckets[number % CHRDEV_MAJOR_HASH_SIZE]
        place = 0
        for place, other in enumerate([*bucket, None]):  # noqa: B007
            if other is None or number < other.major:
                break
            if number > other.major:
                continue
            if baseminor + minorct <= other.baseminor:
                break
            if baseminor < other.baseminor + other.minorct:
                raise KernelError(errno.EBUSY, f"{other.name} has the major {number} already")
        bucket.insert(place, region)
        return region

    def _check_range(self, wanted: int, baseminor: int, minorct: int, name: str) -> None:
        emit = self._kernel.printk.emit
        if wanted >= CHRDEV_MAJOR_MAX:
            emit(
                f'CHRDEV "{name}" major requested ({wanted}) is greater than the maximum'
                f" ({CHRDEV_MAJOR_MAX - 1})\n",
                3,
            )
            raise KernelError(errno.EINVAL, f"the major {wanted} is too large")
        if minorct > MINORMASK + 1 - baseminor:
            last = baseminor + minorct - 1 & 0xFFFF_FFFF
            emit(
                f'CHRDEV "{name}" minor range requested ({baseminor}-{last}) is out of range of maximum range'
                f" (0-{MINORMASK}) for a single major\n",
                3,
            )
            raise KernelError(errno.EINVAL, "the range of minors is too large")

    def _dynamic_major(self, name: str) -> int:
        """find_dynamic_major()."""
        for number in range(CHRDEV_MAJOR_HASH_SIZE - 1, _DYN_END - 1, -1):
            if not self.buckets[number]:
                return number
        for number in range(_DYN_EXT_START, _DYN_EXT_END - 1, -1):
            if all(r.major != number for r in self.buckets[number % CHRDEV_MAJOR_HASH_SIZE]):
                return number
        self._kernel.printk.emit(f'CHRDEV "{name}" dynamic allocation region is full\n', 3)
        raise KernelError(errno.EBUSY, "no dynamic major is left")

    def release(self, number: int, baseminor: int, minorct: int) -> Region | None:
        """__unregister_chrdev_region(): the range must be exactly one that was reserved."""
        bucket = self.buckets[number % CHRDEV_MAJOR_HASH_SIZE]
        for region in bucket:
            if region[:3] == (number, baseminor, minorct):
                bucket.remove(region)
                return region
        return None

    # --- cdev_map -----------------------------------------------------------------------------------

    def add(self, cdev: int | FileOperations, dev: int, count: int) -> None:
        """kobj_map(): once for each major in the range, the smaller ranges first."""
        last = major(dev + count - 1) if count else major(dev)
        for number in range(major(dev), min(last - major(dev) + 1, CHRDEV_MAJOR_HASH_SIZE) + major(dev)):
            chain = self.probes[number % CHRDEV_MAJOR_HASH_SIZE]
            place = sum(1 for probe in chain if probe.range < count)
            chain.insert(place, Probe(dev, count, cdev))

    def remove(self, dev: int, count: int) -> None:
        """kobj_unmap()."""
        last = major(dev + count - 1) if count else major(dev)
        for number in range(major(dev), min(last - major(dev) + 1, CHRDEV_MAJOR_HASH_SIZE) + major(dev)):
            chain = self.probes[number % CHRDEV_MAJOR_HASH_SIZE]
            for probe in chain:
                if (probe.dev, probe.range) == (dev, count):
                    chain.remove(probe)
                    break

    def probe(self, dev: int) -> Probe | None:
        """The smallest range that holds a number."""
        for probe in self.probes[major(dev) % CHRDEV_MAJOR_HASH_SIZE]:
            if probe.dev <= dev < probe.dev + probe.range:
                return probe
        return None

    def is_python(self, dev: int) -> bool:
        """Whether opening that device needs no guest code."""
        probe = self.probe(dev)
        return probe is not None and not isinstance(probe.cdev, int) and not probe.cdev.serves_guest

    async def lookup(self, dev: int) -> int | FileOperations:
        """kobj_lookup(): the cdev, with a reference on it and its owner; a module may be asked for first.

        Raises:
            KernelError: ENXIO, nobody serves that number.
        """
        for attempt in range(2):
            for probe in self.probes[major(dev) % CHRDEV_MAJOR_HASH_SIZE]:
                if not probe.dev <= dev < probe.dev + probe.range:
                    continue
                if not isinstance(probe.cdev, int) or self.get(probe.cdev):
                    return probe.cdev
            if not attempt and await self._request(f"char-major-{major(dev)}-{minor(dev)}") > 0:
                await self._request(f"char-major-{major(dev)}")
        raise KernelError(errno.ENXIO, f"no driver serves the device {major(dev)}:{minor(dev)}")

    async def _request(self, name: str) -> int:
        return await self._kernel.request_module(name)

    # --- references on a struct cdev -----------------------------------------------------------------

    def get(self, cdev: int) -> bool:
        """cdev_get(): pins the owner and the cdev; False if the owner is going or the cdev is gone."""
        kernel = self._kernel
        owner = kernel.view("cdev", cdev).owner
        if not kernel.try_module_get(owner):
            return False
        if not kobject_get_unless_zero(kernel, cdev):
            kernel.module_put(owner)
            return False
        return True

    async def put(self, cdev: int) -> None:
        """cdev_put()."""
        owner = self._kernel.view("cdev", cdev).owner
        await self._kernel.kobjects.put(cdev)
        self._kernel.module_put(owner)

    def purge(self, cdev: int) -> None:
        """The cdev's last reference is gone: inodes forget it."""
        for inode in self.inodes.pop(cdev, []):
            view = self._kernel.view("inode", inode)
            lists.delete_init(self._kernel.memory, view.addressof("i_devices"))
            view.i_cdev = 0

    def forget_inode(self, inode: Inode) -> None:
        """cd_forget(): the inode goes."""
        if not inode.address:
            return
        view = self._kernel.view("inode", inode.address)
        inodes = self.inodes.get(view.i_cdev, [])
        if inode.address in inodes:
            inodes.remove(inode.address)
            lists.delete_init(self._kernel.memory, view.addressof("i_devices"))

    # --- opening ------------------------------------------------------------------------------------

    async def open(self, file: File) -> int:
        """chrdev_open(): find the driver and let it open the file.

        Raises:
            KernelError: ENXIO, no driver or one whose module is going.
        """
        kernel, inode = self._kernel, file.inode
        if not isinstance(file, GuestFile):
            operations = await self.lookup(inode.rdev)
            if isinstance(operations, int):  # registered while we waited
                raise KernelError(errno.ENXIO)
            file.op = operations
            return await operations.open(file)
        view = kernel.view("inode", inode.address)
        cdev = view.i_cdev
        if cdev:
            if not self.get(cdev):
                raise KernelError(errno.ENXIO, "the driver's module is being removed")
        else:
            found = await self.lookup(inode.rdev)
            if not isinstance(found, int):
                if not found.serves_guest:
                    file.op = found
                return await found.open(file)
            cdev = found
            view.i_cdev = cdev
            self.inodes.setdefault(cdev, []).append(inode.address)
            head = kernel.view("cdev", cdev).addressof("list")
            lists.add(kernel.memory, view.addressof("i_devices"), head)
        fops = kernel.view("cdev", cdev).ops
        if not fops or not kernel.try_module_get(kernel.memory.read_u64(fops)):
            await self.put(cdev)
            raise KernelError(errno.ENXIO, "the driver has no operations or is being removed")
        file.fops, file.op = fops, self._operations
        result = await file.op.open(file)
        if result:
            await self.put(cdev)
        return result

    # --- state --------------------------------------------------------------------------------------

    def save(self) -> Any:
        """State for a snapshot or file; what Python serves is there since boot."""
        return {
            "regions": [list(region) for bucket in self.buckets for region in bucket],
            "probes": [
                [list(probe) for probe in chain if isinstance(probe.cdev, int)] for chain in self.probes
            ],
            "inodes": list(self.inodes.items()),
        }

    def load(self, state: Any) -> None:
        """Put saved state back."""
        self.buckets = [[] for _ in range(CHRDEV_MAJOR_HASH_SIZE)]
        for region in state["regions"]:
            self.buckets[region[0] % CHRDEV_MAJOR_HASH_SIZE].append(Region(*region))
        for number, saved in enumerate(state["probes"]):
            if not saved and not self.probes[number]:
                continue
            own = [probe for probe in self.probes[number] if not isinstance(probe.cdev, int)]
            chain = [*own, *(Probe(*probe) for probe in saved)]
            self.probes[number] = sorted(chain, key=lambda probe: probe.range)
        self.inodes = {cdev: list(inodes) for cdev, inodes in state["inodes"]}


# --- exports --------------------------------------------------------------------------------------------


@export("int register_chrdev_region(dev_t from, unsigned count, const char *name)")
def register_chrdev_region(kernel: KernelCore, from_: int, count: int, name: str) -> int:
    """Reserve numbers, also across majors (fs/char_dev.c)."""
    devices, to, done = kernel[CharDevices], from_ + count, []
    first = from_
    try:
        while first < to:
            last = min(mkdev(major(first) + 1, 0), to)
            done.append(devices.reserve(major(first), minor(first), last - first, name))
            first = last
    except KernelError:
        for region in done:
            devices.release(*region[:3])
        raise
    return 0


@export("int alloc_chrdev_region(dev_t *dev, unsigned baseminor, unsigned count, const char *name)")
def alloc_chrdev_region(kernel: KernelCore, dev: int, baseminor: int, count: int, name: str) -> int:
    """Reserve numbers of a free major (fs/char_dev.c)."""
    region = kernel[CharDevices].reserve(0, baseminor, count, name)
    kernel.memory.write_u32(dev, mkdev(region.major, region.baseminor))
    return 0


@export("void unregister_chrdev_region(dev_t from, unsigned count)")
def unregister_chrdev_region(kernel: KernelCore, from_: int, count: int) -> None:
    """Give numbers back (fs/char_dev.c)."""
    first, to = from_, from_ + count
    while first < to:
        last = min(mkdev(major(first) + 1, 0), to)
        kernel[CharDevices].release(major(first), minor(first), last - first)
        first = last


@export(
    "int __register_chrdev(unsigned int major, unsigned int baseminor, unsigned int count, const char *name,"
    " const struct file_operations *fops)"
)
async def __register_chrdev(
    kernel: KernelCore, number: int, baseminor: int, count: int, name: str, fops: int
) -> int:
    """Reserve a major and put a driver there: what register_chrdev() is (fs/char_dev.c)."""
    devices = kernel[CharDevices]
    region = devices.reserve(number, baseminor, count, name)
    cdev = cdev_alloc(kernel)
    if not cdev:
        devices.release(*region[:3])
        return -errno.ENOMEM
    view = kernel.view("cdev", cdev)
    view.owner, view.ops = kernel.memory.read_u64(fops), fops
    kernel.kobjects.set_name(cdev, name.encode("utf-8", "surrogateescape"))
    result = cdev_add(kernel, cdev, mkdev(region.major, baseminor), count)
    if result:
        await kernel.kobjects.put(cdev)
        devices.release(*region[:3])
        return result
    bucket = devices.buckets[region.major % CHRDEV_MAJOR_HASH_SIZE]
    bucket[bucket.index(region)] = region._replace(cdev=cdev)
    kernel.events.emit("register_chrdev", name=name, major=region.major, minors=count)
    return 0 if number else region.major


@export(
    "void __unregister_chrdev(unsigned int major, unsigned int baseminor, unsigned int count,"
    " const char *name)"
)
async def __unregister_chrdev(kernel: KernelCore, number: int, baseminor: int, count: int, name: int) -> None:
    """Take a driver away and give its numbers back (fs/char_dev.c)."""
    region = kernel[CharDevices].release(number, baseminor, count)
    if region is not None and region.cdev:
        await cdev_del(kernel, region.cdev)


@export("void cdev_init(struct cdev *cdev, const struct file_operations *fops)")
def cdev_init(kernel: KernelCore, cdev: int, fops: int) -> None:
    """Prepare a struct cdev that lies in memory of the driver's (fs/char_dev.c)."""
    view = kernel.view("cdev", cdev)
    kernel.memory.clear(cdev, view.layout.size)
    lists.init(kernel.memory, view.addressof("list"))
    kernel.kobjects.initialize(cdev, kernel.symbol("ktype_cdev_default"))
    view.ops = fops


@export("struct cdev *cdev_alloc(void)")
def cdev_alloc(kernel: KernelCore) -> int:
    """A struct cdev that frees itself (fs/char_dev.c)."""
    cdev = kernel.heap.kmalloc(kernel.profile.struct("cdev").size)
    if cdev:
        lists.init(kernel.memory, kernel.view("cdev", cdev).addressof("list"))
        kernel.kobjects.initialize(cdev, kernel.symbol("ktype_cdev_dynamic"))
    return cdev


@export("int cdev_add(struct cdev *p, dev_t dev, unsigned count)")
def cdev_add(kernel: KernelCore, p: int, dev: int, count: int) -> int:
    """Make a driver serve its numbers, from now on (fs/char_dev.c)."""
    view = kernel.view("cdev", p)
    view.dev, view.count = dev, count
    if dev == 0:
        kernel.warnings.warn("fs/char_dev.c", 479, "", "cdev_add+0x5b/0x70")
        return -errno.EBUSY
    kernel[CharDevices].add(p, dev, count)
    kernel.kobjects.get(kernel.view("kobject", p).parent)
    return 0


@export("void cdev_del(struct cdev *p)")
async def cdev_del(kernel: KernelCore, p: int) -> None:
    """Serve no longer; open files go on (fs/char_dev.c)."""
    view = kernel.view("cdev", p)
    kernel[CharDevices].remove(view.dev, view.count)
    await kernel.kobjects.put(p)


@export("void cdev_set_parent(struct cdev *p, struct kobject *kobj)")
def cdev_set_parent(kernel: KernelCore, p: int, kobj: int) -> None:
    """Let the cdev keep a reference on what contains it (fs/char_dev.c)."""
    if not kernel.view("kobject", kobj).bit("state_initialized"):
        kernel.warnings.warn("fs/char_dev.c", 510, "", "cdev_set_parent+0x14/0x20")
    kernel.view("kobject", p).parent = kobj


@export("void cdev_default_release(struct kobject *kobj)")
async def cdev_default_release(kernel: KernelCore, kobj: int) -> None:
    """The last reference on a driver's own cdev is gone (fs/char_dev.c)."""
    parent = kernel.view("kobject", kobj).parent
    kernel[CharDevices].purge(kobj)
    await kernel.kobjects.put(parent)


@export("void cdev_dynamic_release(struct kobject *kobj)")
async def cdev_dynamic_release(kernel: KernelCore, kobj: int) -> None:
    """The last reference on a cdev of cdev_alloc() is gone (fs/char_dev.c)."""
    parent = kernel.view("kobject", kobj).parent
    kernel[CharDevices].purge(kobj)
    kernel.heap.kfree(kobj)
    await kernel.kobjects.put(parent)


def _ktype(name: str) -> None:
    """The type of a cdev's kobject: all it has is a release."""

    @export_data(
        f"struct kobj_type ktype_cdev_{name}", lambda kernel: kernel.profile.struct("kobj_type").size
    )
    def ktype(kernel: KernelCore, address: int) -> None:
        """See above (fs/char_dev.c)."""
        kernel.view("kobj_type", address).release = kernel.symbol(f"cdev_{name}_release")


_ktype("default")
_ktype("dynamic")
