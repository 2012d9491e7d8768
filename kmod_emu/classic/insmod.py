"""insmod of modutils 2.4.16: reads an object, links it to the running kernel, hands over a finished image."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.classic import conf, link, parm, tables
from kmod_emu.classic.obj import STB_LOCAL, STT_OBJECT, ObjectFile, Symbol
from kmod_emu.classic.query import kernel_info
from kmod_emu.classic.structs import MOD_AUTOCLEAN, MODULE, RELEASE
from kmod_emu.classic.tool import MODUTILS_VERSION, Report, run
from kmod_emu.errors import KernelError, Killed
from kmod_emu.kmod.console import UID, UID_HELP, user_id
from kmod_emu.kmod.errors import ToolError
from kmod_emu.kmod.getopt import Command, Getopt
from kmod_emu.module.elf import SHF_WRITE
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_RDWR

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kmod_emu.classic.program import Program
    from kmod_emu.classic.query import KernelInfo
    from kmod_emu.kmod.console import Console

COMMAND = Command(
    "insmod",
    "FILE [NAME=VALUE[,VALUE]...]...",
    "Link the module FILE to the kernel of the kept machine and load it, as Linux 2.4's insmod did.",
    {
        "-f, --force": "load in spite of a wrong kernel version",
        "-h, --help": "show this text",
        "-k, --autoclean": "rmmod -a may remove it when nobody uses it",
        "-L, --lock": "accepted and ignored: loads take turns anyway",
        "-m, --map": "print the load map: where each section and symbol went",
        "-n, --noload": "do everything but load it",
        "-p, --probe": "only see whether it could be loaded",
        "-O, --blob=FILE": "also write the finished image to FILE",
        "-q, --quiet": "no word on unresolved symbols",
        "-r, --root": "accepted and ignored",
        "-s, --syslog": "report to /var/log/syslog of the machine",
        "-v, --verbose": "also tell what the linker does",
        "-V, --version": "show the version",
        "-x, --noexport": "export no symbols, but those that it names itself",
        "-X, --export": "export all global symbols, where it names none (the default)",
        "-y, --noksymoops": "no symbols for ksymoops",
        "-Y, --ksymoops": "symbols for ksymoops (the default)",
        "-o, --name=NAME": "what to call the module",
        UID: UID_HELP,
    },
    MODUTILS_VERSION.format("insmod"),
)

TAINT_URL = "http://www.tux.org/lkml/#export-tainted"
_GPL = ("GPL", "GPL and additional rights", "Dual BSD/GPL", "Dual MPL/GPL")
_PROPRIETARY, _FORCED = 1, 2
_NOLOAD_ADDRESS = 0x1234_0000
_LARGEST = 1 << 32  # bytes of a module that is not even asked for: none has room for it
_HINT = (
    "Hint: insmod errors can be caused by incorrect module parameters, including invalid IO or IRQ "
    "parameters.\n"
    "      You may find more information in syslog or the output from dmesg"
)
_NOT_GPL_GPLONLY = (
    "\nHint: You are trying to load a module without a GPL compatible license\n"
    "      and it has unresolved symbols.  The module may be trying to access\n"
    "      GPLONLY symbols but the problem is more likely to be a coding or\n"
    "      user error.  Contact the module supplier for assistance, only they\n"
    "      can help you.\n"
)
_NOT_GPL = (
    "\nHint: You are trying to load a module without a GPL compatible license\n"
    "      and it has unresolved symbols.  Contact the module supplier for\n"
    "      assistance, only they can help you.\n"
)


class Options(NamedTuple):
    """What the command line asks for."""

    force: bool = False
    autoclean: bool = False
    map: bool = False
    noload: bool = False
    probe: bool = False
    quiet: bool = False
    verbose: bool = False
    export: bool = True
    ksymoops: bool = True
    name: str = ""
    blob: str = ""


_FLAGS = {
    "f": ("force", True), "k": ("autoclean", True), "m": ("map", True), "n": ("noload", True),
    "p": ("probe", True), "q": ("quiet", True), "v": ("verbose", True), "x": ("export", False),
    "X": ("export", True), "y": ("ksymoops", False), "Y": ("ksymoops", True),
}  # fmt: skip


def main(console: Console, args: Sequence[str]) -> int:
    """The command."""
    line = Getopt(COMMAND, args)
    options, uid, syslog = Options(), 0, False
    for key, value in console.options(line):
        if key in _FLAGS:
            options = options._replace(**dict([_FLAGS[key]]))  # type: ignore[arg-type]
        elif key == "s":
            syslog = True
        elif key == "o":
            options = options._replace(name=value)
        elif key == "O":
            options = options._replace(blob=value)
        elif key == "uid":
            uid = user_id(value)
    if not line.operands:
        raise ToolError(COMMAND.usage().rstrip("\n"), 1)
    path, *words = line.operands

    def work(program: Program, report: Report) -> object:
        return load(program, path, words, options, report)

    return run(console, "insmod", work, uid=uid, syslog=syslog)


def module_name(path: str) -> str:
    """What insmod calls a module.

    >>> module_name("/lib/modules/2.4.32/fs/fat.o"), module_name("x.mod"), module_name("y.old")
    ('fat', 'x', 'y.old')
    """
    return re.sub(r"(?<=.)\.(o|mod)$", "", os.path.basename(path))


async def load(
    program: Program, path: str, words: Sequence[str], options: Options, report: Report | None = None
) -> None:
    """All that insmod does.

    Raises:
        ToolError: Its messages.
        Killed: It died in the kernel.
    """
    await _Load(program, path, words, options, report or Report()).run()


class _Load:
    """One module on its way into the kernel."""

    def __init__(
        self, program: Program, path: str, words: Sequence[str], options: Options, report: Report
    ) -> None:
        self.program, self.words, self.options, self.report = program, words, options, report
        self.name = options.name or module_name(path)
        self.path = self._locate(path)
        self.prefix = "insmod"
        self.warnings = 0
        self.used: list[str] = []
        self.license: str | None = None
        self.typed = True

    def _locate(self, path: str) -> str:
        if "/" not in path and "." not in path:
            found = conf.search(self.program.kernel, path)
            if found is None:
                raise ToolError(f"insmod: {path}: no module by that name found")
            self.report.out(f"Using {found}")
            return found
        if self.options.verbose:
            self.report.out(f"Using {path}")
        return path

    async def run(self) -> None:
        """The steps, in insmod's order."""
        try:
            await self._steps()
        except ToolError as error:
            raise self._prefixed(error) from error.__cause__

    def _prefixed(self, error: ToolError) -> ToolError:
        """Every message begins with the name of what it is about."""
        lines = error.args[0].split("\0") if error.args[0] else ()
        return ToolError("\n".join(f"{self.prefix}: {line}" for line in lines), error.status)

    async def _steps(self) -> None:
        blob = self._open()
        info = await kernel_info(self.program)
        if not self.options.noload and any(module.name == self.name for module in info.modules):
            raise ToolError(f"a module named {self.name} already exists")
        self.prefix = self.path
        obj = ObjectFile(self.path, blob)
        self.program.tell(
            "classic_elf", path=self.path, size=len(blob), sections=len(obj.sections),
            symbols=len(obj.symbols) + len(obj.locals),
        )  # fmt: skip
        versions_differ = self._check_version(obj, info)
        self.license = obj.modinfo().get("license")
        self._resolve(obj, info, ignore_versions=versions_differ)
        link.allocate_commons(obj)
        for warning in parm.check_declarations(obj, self.path):
            self._warn(warning)
        await self._check_taint()
        values = parm.process_arguments(obj, self.words, typed=self.typed)
        self.program.tell("classic_parameters", params=[f"{name}={value}" for name, value in values])
        self._fill_tables(obj, info)
        if self.options.probe:
            return
        await self._place(obj)

    def _open(self) -> bytes:
        try:
            with open(conf.host_path(self.program.kernel, self.path), "rb") as file:
                return file.read()
        except OSError as error:
            raise ToolError(f"{self.path}: {error.strerror}") from None

    def _warn(self, text: str) -> None:
        self.report.out(text)
        self.warnings += 1

    # --- versions, symbols, licence -------------------------------------------------------------------------

    def _check_version(self, obj: ObjectFile, info: KernelInfo) -> bool:
        """Whether the object is for this kernel; returns whether only one of them has symbol versions.

        Raises:
            ToolError: It is not, or does not say.
        """
        modinfo = obj.modinfo()
        version = modinfo.get("kernel_version")
        self.typed = version is not None
        if version is None:
            version = self._version_symbol(obj)
        if version is None or not re.match(r"\d+\.\d+\.\d", version):
            raise ToolError("couldn't find the kernel version the module was compiled for")
        checksums = modinfo.get("using_checksums", "") if self.typed else ""
        versioned = int(checksums[:9]) if checksums.isdecimal() else 0
        if not (self.typed or obj.find_symbol("Using_Versions") is None):
            versioned = 1
        if not (versioned and info.versioned) and version != RELEASE:
            text = (
                f"kernel-module version mismatch\n\t{self.path} was compiled for kernel version {version}\n"
                f"\twhile this kernel is version {RELEASE}"
            )
            if not self.options.force:
                raise ToolError("" if self.options.quiet else f"{text}.")
            self._warn(f"Warning: {text}")
        self.program.tell(
            "classic_version", version=version, kernel=RELEASE, checksums=[versioned, info.versioned]
        )
        return versioned != info.versioned

    @staticmethod
    def _version_symbol(obj: ObjectFile) -> str | None:
        """The version in a symbol, as modules without .modinfo have it."""
        symbol = obj.find_symbol("kernel_version") or obj.find_symbol("__module_kernel_version")
        if symbol is None or symbol.undefined or symbol.section >= len(obj.sections):
            return None
        contents = bytes(obj.sections[symbol.section].contents)[symbol.value :]
        return contents.partition(b"\0")[0].decode("utf-8", "surrogateescape")

    @property
    def gpl(self) -> bool:
        """Whether the licence is one that the kernel's owners accept."""
        return self.license in _GPL

    def _resolve(self, obj: ObjectFile, info: KernelInfo, *, ignore_versions: bool) -> None:
        """Find everybody that the object refers to; create `.this`, where its struct module will be.

        Raises:
            ToolError: Some are nowhere.
        """
        found, self.used = link.add_kernel_symbols(obj, info, gpl=self.gpl, ignore_versions=ignore_versions)
        this = obj.create_section(".this", 8, MODULE.size, SHF_WRITE, first=True)
        name = Symbol("__this_module", STB_LOCAL, STT_OBJECT, this.index, 0, MODULE.size)
        if "__this_module" in obj.symbols:
            reference = obj.symbols.pop("__this_module")  # references of the object lead here
            reference.binding, reference.type = STB_LOCAL, STT_OBJECT
            reference.section, reference.value = this.index, 0
            name = reference
        obj.locals.append(name)
        obj.patch_string(this, MODULE.offset("name"), self.name)
        missing = link.unresolved(obj)
        self.program.tell(
            "classic_resolve",
            resolved=[{"name": each.name, "address": each.address, "owner": each.owner} for each in found],
            missing=missing,
        )
        if self.options.verbose:
            for each in found:
                owner = f"module {each.owner}" if each.owner else "the kernel"
                self.report.out(f"{each.name} = {each.address:016x} of {owner}")
        if missing:
            raise ToolError(self._complain(missing, info))

    def _complain(self, missing: Sequence[str], info: KernelInfo) -> str:
        """One message a symbol, and a hint for modules that may not see all."""
        if self.options.quiet:
            return ""
        lines = [f"unresolved symbol {name}" for name in missing]
        if not self.gpl:
            every = [*info.symbols, *(symbol for module in info.modules for symbol in module.symbols)]
            gplonly = any(name.startswith("GPLONLY_") for _, name in every)
            lines.append(_NOT_GPL_GPLONLY if gplonly else _NOT_GPL)
        return "\0".join(lines)

    async def _check_taint(self) -> None:
        """Say and note that the kernel is not quite the free one any more."""
        reasons = []
        if self.license is None:
            reasons.append((_PROPRIETARY, "no license"))
        elif not self.gpl:
            reasons.append((_PROPRIETARY, f"non-GPL license - {self.license}"))
        if self.options.force:
            reasons.append((_FORCED, "forced load"))
        for number, (flag, reason) in enumerate(reasons):
            self._warn(f"Warning: loading {self.path} will taint the kernel: {reason}")
            if number == 0:
                self.report.out(f"  See {TAINT_URL} for information about tainted modules")
            if not self.options.noload:
                await self._taint(flag)

    async def _taint(self, flag: int) -> None:
        """Add a flag to /proc/sys/kernel/tainted; who may not write there leaves it."""
        program = self.program
        try:
            fd = await program.call("open", program.text("/proc/sys/kernel/tainted"), O_RDWR, 0)
            place = program.process.put(bytes(80))
            length = await program.call("read", fd, place, 79)
            text = b"%d\n" % (int(program.process.get(place, length)) | flag)
            await program.call("write", fd, program.process.put(text), len(text))
            await program.call("close", fd)
        except Killed:
            raise
        except KernelError:
            return

    def _fill_tables(self, obj: ObjectFile, info: KernelInfo) -> None:
        """What the module exports, and whom it uses."""
        symbols = []
        if self.options.ksymoops:
            host = conf.host_path(self.program.kernel, self.path)
            real = os.path.realpath(self.path) if host == self.path else self.path
            symbols = tables.ksymoops_symbols(obj, self.name, real, os.stat(host).st_mtime)
        if self.used:
            addresses = {module.name: module.info.addr for module in info.modules}
            tables.add_references(obj, [addresses[name] for name in self.used])
        tables.add_exports(obj, symbols, export=self.options.export)

    # --- into the kernel ------------------------------------------------------------------------------------

    async def _place(self, obj: ObjectFile) -> None:
        """Lay out, get memory, relocate, hand over.

        Raises:
            ToolError: A step failed; what was created is deleted again.
        """
        program = self.program
        size = link.load_size(obj)
        program.tell(
            "classic_layout", size=size,
            sections=[{"name": s.name, "offset": s.address, "size": s.size} for s in obj.load_order],
        )  # fmt: skip
        if size >= _LARGEST:
            raise ToolError(f"can't allocate kernel memory for module; needed {size} bytes")
        base = _NOLOAD_ADDRESS
        if not self.options.noload:
            created = await self._create(size)
            if created is None:
                return
            base = created
        try:
            patched = link.relocate(obj, base)
            kinds = link.count_by_type(obj)
            count = sum(kinds.values())
            program.tell(
                "classic_relocate", address=base, count=count, by_type=kinds, own=len(patched) - count,
                places=[each._asdict() for each in patched] if program.kernel.events else [],
            )  # fmt: skip
            image = self._finish(obj, base, size)
            if self.options.map or self.options.verbose:
                for line in link.load_map(obj):
                    self.report.out(line)
            self._write_blob(image)
            if not self.options.noload:
                await self._init(image)
        except Killed:
            raise
        except ToolError:
            if not self.options.noload:
                await self._delete()
            raise
        if self.warnings and not self.options.noload:
            self.report.out(f"Module {self.name} loaded, with warnings")

    async def _create(self, size: int) -> int | None:
        """create_module(2): the address; None if somebody else was just quicker."""
        try:
            result = await self.program.call("create_module", self.program.text(self.name), size)
        except KernelError as error:
            if error.errno == errno.EEXIST:
                return None
            if error.errno == errno.ENOMEM:
                text = f"can't allocate kernel memory for module; needed {size} bytes"
                raise ToolError(text) from error
            raise ToolError(f"create_module: {error.strerror}") from error
        return result & (1 << 64) - 1

    def _finish(self, obj: ObjectFile, base: int, size: int) -> bytes:
        """The image, with a complete struct module at its start."""
        flags = MOD_AUTOCLEAN if self.options.autoclean else 0
        values = tables.fill_struct_module(obj, base, size, flags, len(self.used))
        self.program.tell(
            "classic_image", name=self.name, size=size, init=values["init"], cleanup=values["cleanup"]
        )
        return link.create_image(obj, base, size)

    def _write_blob(self, image: bytes) -> None:
        if not self.options.blob:
            return
        try:
            with open(self.options.blob, "wb") as file:
                file.write(image)
        except OSError as error:
            raise ToolError(f"open {self.options.blob} failed {error.strerror}") from None

    async def _init(self, image: bytes) -> None:
        program = self.program
        try:
            await program.call("init_module", program.text(self.name), program.process.put(image))
        except Killed:
            raise
        except KernelError as error:
            self.report.later(_HINT)
            raise ToolError(f"init_module: {error.strerror}") from error

    async def _delete(self) -> None:
        """delete_module(2) of what did not become a module."""
        try:
            await self.program.call("delete_module", self.program.text(self.name))
        except Killed:
            raise
        except KernelError:
            pass
