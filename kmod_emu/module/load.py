"""load_module: from the bytes of a .ko to a live module (kernel/module/main.c).

`load_module` reads as the list of its steps, each a function named as in Linux. A step that refuses raises
KernelError; `Unwind` then undoes the steps before it, in reverse.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.errors import KernelError
from kmod_emu.kernel.locking import __mutex_init
from kmod_emu.kernel.taint import Taint
from kmod_emu.module import elf, signing, verify
from kmod_emu.module.allocate import layout_and_allocate, percpu_modalloc, percpu_modfree
from kmod_emu.module.check import (
    augment_kernel_taints,
    check_export_symbol_versions,
    check_modinfo,
    check_modstruct_version,
    taint_by_name,
    taint_unsigned,
)
from kmod_emu.module.errors import KernelWouldCrash, LoadError, OutsideImage
from kmod_emu.module.finalize import sort_extable
from kmod_emu.module.free import free_regions
from kmod_emu.module.host import ModuleHost
from kmod_emu.module.init import do_init_module
from kmod_emu.module.kallsyms import add_kallsyms
from kmod_emu.module.kernel_param import free_parameters
from kmod_emu.module.link import apply_relocations
from kmod_emu.module.modules import MODULE_REF_BASE, Module, Modules, ModuleState
from kmod_emu.module.params import parse_args
from kmod_emu.module.patch import module_finalize
from kmod_emu.module.resolve import verify_imports
from kmod_emu.module.sections import find_module_sections, note_tables, read_exports
from kmod_emu.module.simplify import simplify_symbols
from kmod_emu.module.traits import Traits
from kmod_emu.module.unwind import Unwind
from kmod_emu.module.version import Versions, read_extended
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore
    from kmod_emu.module.layout import Layout

_IGNORE_MODVERSIONS, _IGNORE_VERMAGIC = 1, 2
_MAX_ARGS = 1 << 22  # KMALLOC_MAX_SIZE


class Copy(NamedTuple):
    """The temporary copy of a module file in kernel memory."""

    address: int
    size: int


class LoadInfo:
    """struct load_info: what is known of a module while it is loaded.

    Attributes:
        image: The verified file.
        flags: Of finit_module.
        traits: How this release loads.
        blob: The file without its signature.
        taints: The module's own flags until its struct is in place.
        signed: Whether its signature counts.
        versions: Its `__versions`.
        modinfo: First value of each `.modinfo` tag.
        imports: Namespaces it imports, in order.
        values: Symbol values, by index, once resolved.
        layout: Where its sections go.
    """

    def __init__(self, kernel: KernelCore, copy: Copy, flags: int) -> None:
        self.kernel, self.copy, self.flags = kernel, copy, flags
        self.traits = Traits.of(kernel.profile)
        self.image: elf.Image
        self.layout: Layout
        self.versions = Versions(None)
        self.modinfo: dict[str, str] = {}
        self.imports: list[str] = []
        self.values: list[int] = []
        self.taints = 0
        self.blob = b""
        self.signed = False
        self.module: Module | None = None

    @property
    def name(self) -> str:
        """The name that messages before the layout use: that of `struct module`, in the file."""
        if self.module is not None:
            return self.module.name
        section = self.image.sections[self.image.this_module]
        offset = self.kernel.profile.offset("module", "name")
        return elf.cstring(self.image.blob, section.offset + offset)

    def printk(self, level: int, text: str) -> None:
        """A line for dmesg."""
        self.kernel.printk.emit(f"{text}\n", level)

    def once(self, message: str) -> bool:
        """Whether a message that is printed once a boot has not been yet; now it counts as printed."""
        told = self.kernel[Modules].told
        new = message not in told
        told.add(message)
        return new

    def add_taint(self, flag: Taint) -> None:
        """add_taint_module(): the kernel's and the module's flag."""
        self.kernel.taint.add(flag)
        if self.module is not None:
            self.module.view.taints = self.module.taints | 1 << flag
        else:
            self.taints |= 1 << flag


async def load_module(kernel: KernelCore, copy: Copy, uargs: int, flags: int) -> int:
    """Load a module from its temporary copy and run its init; 0.

    Raises:
        KernelError: Refused, everything undone.
        Killed: The task died on the way: nothing undone.
    """
    info = LoadInfo(kernel, copy, flags)
    try:
        module = await _load(info, uargs)
    except KernelWouldCrash as crash:
        base = copy.address if isinstance(crash, OutsideImage) else 0
        kernel.oopses.kernel_crash("load_module", base + crash.address, write=crash.write)
    except KernelError as error:
        kernel.events.emit("load_failed", errno=error.errno, explanation=error.explanation)
        raise
    return await do_init_module(kernel, module)


async def _load(info: LoadInfo, uargs: int) -> Module:
    kernel = info.kernel
    kernel[Modules].note_load(None)
    async with Unwind(info.printk) as undo:
        undo.on_failure(kernel.vmalloc.free, info.copy.address)
        module_sig_check(info)
        elf_validity_check(info)
        setup_load_info(info)
        check_blacklist(info)
        rewrite_section_headers(info)
        check_modstruct_version(info)
        check_modinfo(info)
        if info.traits.early:
            await module_patient_check_exists(info)
        module = layout_and_allocate(info)
        module.file = info.blob
        undo.on_failure(free_regions, kernel, module)
        await add_unformed_module(info, module)
        undo.on_failure(unlink, kernel, module)
        if info.traits.early:
            augment_kernel_taints(info)
        else:
            taint_unsigned(info)
        percpu_modalloc(info, module)
        undo.on_failure(percpu_modfree, kernel, module)
        __mutex_init(kernel, module.view.addressof("param_lock"), 0, 0)
        module.view.set("refcnt", MODULE_REF_BASE + 1)
        undo.on_failure(kernel[Modules].drop_uses, module)
        find_module_sections(info, module)
        if not info.traits.early:
            taint_by_name(info, kernel.taint.test(Taint.PROPRIETARY_MODULE))
        check_export_symbol_versions(info)
        verify_imports(info)
        module.modinfo = {tag: info.modinfo[tag] for tag in ("version", "srcversion") if tag in info.modinfo}
        if info.imports:
            module.modinfo["import_ns"] = "\n".join(info.imports)
        await simplify_symbols(info, module)
        apply_relocations(info, module)
        post_relocation(info, module)
        copy_args(info, module, uargs)
        undo.on_failure(free_args, kernel, module)
        await kernel[ModuleHost].formed(info, module)
        undo.on_failure(kernel[ModuleHost].freed, module)
        complete_formation(info, module)
        undo.on_failure(note_tables, kernel, module, None)
        await prepare_coming_module(info, module, undo)
        undo.on_failure(free_parameters, kernel, module)
        await parse_args(kernel, module)
        await kernel[ModuleHost].show(info, module)
    kernel.vmalloc.free(info.copy.address)
    kernel.events.emit("free_copy", address=info.copy.address, size=info.copy.size)
    return module


# --- reading the file ---------------------------------------------------------------------------------


def module_sig_check(info: LoadInfo) -> None:
    """Find out whether the file is signed; sets aside the signature (module_sig_check)."""
    blob = info.kernel.memory.read(info.copy.address, info.copy.size)
    outcome, size = signing.NOT_LOOKED_AT, len(blob)
    if not info.flags & (_IGNORE_MODVERSIONS | _IGNORE_VERMAGIC):
        blob, signature = signing.split_signature(blob, info.printk)
        if signature is not None:
            outcome = signing.verify(blob, signature, info.kernel.profile.certificates)
        else:
            outcome = signing.UNSIGNED if len(blob) == size else signing.NO_PKCS7
    info.signed = outcome == signing.TRUSTED
    if not info.signed:
        signing.may_be_untrusted(info.kernel, outcome)
    info.blob = blob
    info.kernel.events.emit("signature", outcome=outcome)


def elf_validity_check(info: LoadInfo) -> None:
    """Verify headers and section headers."""
    info.image = image = verify.elf_validity_check(info.blob, info.traits)
    info.kernel.events.emit(
        "elf_validity_check",
        size=len(image.blob), type=image.type, machine=image.machine, sections=len(image.sections),
    )  # fmt: skip


def setup_load_info(info: LoadInfo) -> None:
    """Find `.modinfo`, the symbol table and `struct module`."""
    image, profile = info.image, info.kernel.profile
    verify.setup_load_info(image, profile, info.traits)
    for tag, value in image.modinfo_tags():
        info.modinfo.setdefault(tag, value)
        if tag == "import_ns":
            info.imports.append(value)
    image.livepatch = "livepatch" in info.modinfo
    if not info.flags & _IGNORE_MODVERSIONS:
        info.versions = _versions(image)
    info.kernel.events.emit(
        "setup_load_info",
        name=image.name,
        symbols=len(image.symbols),
        strings=image.sections[image.strtab].size,
    )


def _versions(image: elf.Image) -> Versions:
    plain = image.raw(image.sections[image.versions]) if image.versions else None
    if not image.version_ext_crcs:
        return Versions(plain)
    crcs, names = image.sections[image.version_ext_crcs], image.sections[image.version_ext_names]
    return Versions(plain, read_extended(image.raw(crcs), image.raw(names)))


def check_blacklist(info: LoadInfo) -> None:
    """The boot option module_blacklist= forbids modules by name.

    Raises:
        LoadError: EPERM.
    """
    if info.image.name in info.kernel.cmdline.get("module_blacklist", "").split(","):
        raise LoadError(errno.EPERM, "", (3, f"Module {info.image.name} is blacklisted"))


def rewrite_section_headers(info: LoadInfo) -> None:
    """Section addresses become those of the temporary copy; some sections are not kept in memory."""
    image = info.image
    for section in image.sections[1:]:
        section.address = info.copy.address + section.offset
    if info.flags & _IGNORE_MODVERSIONS:
        image.versions = image.version_ext_crcs = image.version_ext_names = 0
    for index in (image.versions, image.version_ext_crcs, image.version_ext_names, image.modinfo):
        image.sections[index].flags &= ~elf.SHF_ALLOC


# --- the list of modules ------------------------------------------------------------------------------


async def module_patient_check_exists(info: LoadInfo) -> None:
    """No module of that name may be loaded; if one is just being loaded, wait for how that ends.

    Raises:
        KernelError: EEXIST, EBUSY (also when the other one failed), EINTR.
    """
    modules, name = info.kernel[Modules], info.name
    old = modules.find(name, even_unformed=True)
    if old is None:
        return
    while old is not None and old.state in (ModuleState.COMING, ModuleState.UNFORMED):
        await modules.wait()
        old = modules.find(name, even_unformed=True)
    if old is not None and old.state is ModuleState.LIVE:
        raise KernelError(errno.EEXIST, f"a module {name} is loaded already: remove it first")
    raise KernelError(errno.EBUSY, f"a module {name} was just being loaded or removed")


async def add_unformed_module(info: LoadInfo, module: Module) -> None:
    """Put the module on the list, not yet visible.

    Raises:
        KernelError: EEXIST, EBUSY (also when the other one failed), EINTR.
    """
    modules, name = info.kernel[Modules], module.name
    module.state = ModuleState.UNFORMED
    await module_patient_check_exists(info)
    modules.insert(module)
    modules.note_load(module)
    info.kernel.events.emit("add_unformed_module", name=name, list=[other.name for other in modules])


def unlink(kernel: KernelCore, module: Module) -> None:
    """Take a module that failed to load off the list, and tell those who waited for it."""
    kernel[Modules].remove(module)
    kernel[Modules].wake_all()


# --- finishing ----------------------------------------------------------------------------------------


def post_relocation(info: LoadInfo, module: Module) -> None:
    """Sort the exception table, copy per-CPU data, build the symbol table, patch the code."""
    kernel, image, view = info.kernel, info.image, module.view
    sort_extable(kernel.memory, view.extable, view.num_exentries * 12)
    if module.percpu:
        section = image.sections[image.percpu]
        if section.type != elf.SHT_NOBITS:
            data = kernel.memory.read(section.address, section.size)
            kernel.memory.write(kernel.percpu.address(module.percpu), data)
    add_kallsyms(info, module)
    patches = module_finalize(info, module)
    kernel.events.emit("post_relocation", patches=patches)


def copy_args(info: LoadInfo, module: Module, uargs: int) -> None:
    """Copy the parameters from the caller's memory (strndup_user).

    Raises:
        KernelError: EFAULT, the pointer is bad or NULL; EINVAL or ENOMEM, it is too long.
    """
    kernel = info.kernel
    text = kernel.user.strndup(uargs, _MAX_ARGS)
    address = kernel.heap.kmalloc(len(text) + 1)
    if not address:
        raise KernelError(errno.ENOMEM, "no memory for the parameters")
    kernel.memory.write(address, text + b"\0")
    module.owned.append(address)
    module.view.args = address
    kernel.events.emit("module_args", address=address, text=text)


def free_args(kernel: KernelCore, module: Module) -> None:
    """Give the parameters' text back."""
    while module.owned:
        kernel.heap.kfree(module.owned.pop())


# --- becoming a module --------------------------------------------------------------------------------


def complete_formation(info: LoadInfo, module: Module) -> None:
    """Check exports, protect the memory, become COMING.

    Raises:
        LoadError: ENOEXEC, a symbol is exported already.
    """
    kernel = info.kernel
    read_exports(info, module)
    note_tables(kernel, module, info)
    for name, region in module.regions.items():
        for start, end, perms in info.layout.regions[name].protections():
            if end > start:
                kernel.memory.protect(region.base + start, end - start, perms)
    module.state = ModuleState.COMING
    kernel.events.emit("complete_formation", name=module.name, state="COMING")


async def prepare_coming_module(info: LoadInfo, module: Module, undo: Unwind) -> None:
    """Let the rest of the kernel know.

    Raises:
        KernelError: What a notifier returned.
    """
    host = info.kernel[ModuleHost]

    async def going() -> None:
        module.state = ModuleState.GOING
        await host.unwound(module)

    try:
        await host.coming(info, module, undo)
    except KernelError:
        module.state = ModuleState.GOING
        raise
    undo.on_failure(going)
