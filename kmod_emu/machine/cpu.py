"""The processor: Unicorn's x86-64 and its run loop.

`Cpu.run` is the only place that starts emulation, and it is never entered from inside a hook. It returns
a `Stop` saying why: a trap asked for it, a fault, an exception, an instruction budget, the watchdog.
"""

from __future__ import annotations

import math
import struct
import time
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

import unicorn
from unicorn import unicorn_const as uc_const
from unicorn import x86_const as x86

from kmod_emu.machine import cpuid, hooks
from kmod_emu.machine.checks import Checks
from kmod_emu.machine.io import IoSpace
from kmod_emu.machine.memory import PAGE_SIZE, Access, PageFault
from kmod_emu.machine.registers import Registers
from kmod_emu.machine.traps import PORT
from kmod_emu.machine.watchdog import Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from kmod_emu.machine.memory import Memory

_GRACE = 2  # looks of the watchdog
_NO_LIMIT = 1 << 62
_MOST_DROPPED = 4096 * PAGE_SIZE  # bytes of code; about as many of translated code, at most
_CODE_AROUND = 64  # bytes of a block, all of which goes with one of them
_ACCESS = {
    uc_const.UC_MEM_READ: Access.READ,
    uc_const.UC_MEM_WRITE: Access.WRITE,
    uc_const.UC_MEM_FETCH: Access.FETCH,
}
_INVALID_OPCODE, _GENERAL_PROTECTION = 6, 13
_IO_END = 1 << 40  # physical addresses behind RAM up to here belong to devices
_CONTRIBUTORY = {0, 8, 10, 11, 12, 13}  # one of these after another is a double fault
_CANONICAL = {0, (1 << 17) - 1}  # bits 63 to 47 of an address
_CPUID_REGISTERS = (x86.UC_X86_REG_RAX, x86.UC_X86_REG_RBX, x86.UC_X86_REG_RCX, x86.UC_X86_REG_RDX)
_CR0_WP = 1 << 16  # the kernel may not write read-only pages either


class StopReason(Enum):
    """Why `Cpu.run` came back."""

    TRAP = "a handler asked to stop"
    FAULT = "page fault"
    EXCEPTION = "processor exception"
    COUNT = "instruction budget used up"
    HALT = "hlt executed"
    LOCKUP = "ran too long without a stop"
    PATIENCE = "ran longer than this run's patience"
    SYSCALL = "syscall executed in ring 3"


class Stop(NamedTuple):
    """How a run ended.

    Attributes:
        rip: The instruction that did not complete, or the next one to run.
        fault: For a page fault; also for the general protection that a non-canonical address causes.
        vector: The exception's number.
    """

    reason: StopReason
    rip: int
    fault: PageFault | None = None
    vector: int | None = None


class Cpu(Registers):
    """One x86-64 processor in 64-bit supervisor mode on a `Memory`.

    Attributes:
        traps: Handlers by trap number, called inside the `out` of a trap slot. A handler returns to let
            the guest go on, or calls `stop_at_trap` first.
        ports: Devices that `in` and `out` reach.
        mmio: Devices that `Memory.io_pages` reach, by physical address.
        watchdog: Stops a run that uses more processor seconds than its limit.
        counts_always: Run all code with a budget, if need be an endless one. Going back to none costs Unicorn
            all its translations.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.traps: list[Callable[[], None]] = []
        self.ports, self.mmio = IoSpace(), IoSpace()
        self._mmio_base = 0
        self._accessing: tuple[int, int] | None = None  # the instruction that accesses device memory, and
        self._accesses: dict[
            tuple[int, bool], int
        ] = {}  # ... what it got so far, by offset and whether it wrote
        self._answers: list[int] = []  # what it gets when it is run again
        self._broken_off = False
        self.watchdog = Watchdog(self._expire)
        super().__init__(unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64))
        self._uc.ctl_set_tlb_mode(uc_const.UC_TLB_VIRTUAL)
        self._uc.ctl_exits_enabled(True)  # with an empty list: no address ends a run, not even 0
        self.counts_always = self._counted = False
        self._mapped = 0
        self._fault: PageFault | None = None
        self._vector: int | None = None
        self._trapped = False
        self._expired = False
        self._entered_kernel = False
        self._overdue = 0  # how often the watchdog has asked for a stop of this run
        self._error: BaseException | None = None
        self._running = self._counting = False
        self._forgetter, self._forgotten = 0, memoryview(b"")
        self._to_forget: list[int] = []  # pages whose translations go before anything runs
        self._observed = 0  # who wants to hear of each instruction
        self._hooked = False  # whether anybody ever wanted to stop at a single one
        self._dropped = 0  # bytes whose translated code was dropped: it still takes memory
        self._about_to_run: int | None = None  # the instruction that a `follow` was told last, in this run
        self._announced: int | None = None  # one that it was told and that did not run
        hooks.on_tlb_miss(self._uc, self._fill)
        self._uc.hook_add(uc_const.UC_HOOK_INTR, self._interrupt)
        self._uc.hook_add(uc_const.UC_HOOK_INSN_INVALID, self._invalid)
        self._end_out = hooks.on_out(self._uc, self._out)
        self._uc.hook_add(uc_const.UC_HOOK_INSN, self._in, None, 1, 0, x86.UC_X86_INS_IN)
        self._uc.hook_add(uc_const.UC_HOOK_INSN, self._syscall, None, 1, 0, x86.UC_X86_INS_SYSCALL)
        self._uc.hook_add(uc_const.UC_HOOK_INSN, self._cpuid, None, 1, 0, x86.UC_X86_INS_CPUID)
        memory.flush_all = self.flush_tlb
        memory.forget_pages = self._forget_pages
        memory.drop_code = self._drop_code
        cr0 = x86.UC_X86_REG_CR0
        memory.write_protect = lambda: bool(self._uc.reg_read(cr0) & _CR0_WP)
        self._uc.reg_write(cr0, self._uc.reg_read(cr0) | _CR0_WP)
        self._pristine = self.save()
        self._checks = Checks(self._uc)
        self._checks.look(everywhere=False)

    # --- running ------------------------------------------------------------------------------------

    def run(self, rip: int, count: int = 0, patience: float = math.inf) -> Stop:
        """Run from `rip` until something stops it.

        Args:
            rip: Where to start; the other registers are as they are.
            count: Stop after so many instructions (0: no limit; a limit makes all code 5 times slower).
            patience: Stop about this many seconds of processor time later, anywhere.

        Raises:
            BaseException: Whatever a trap handler raised; the guest is stopped behind its `out`.
            RuntimeError: It is called from inside a trap handler.
        """
        if self._running:
            raise RuntimeError(
                "guest code cannot be called from inside a trap handler: make the handler async"
            )
        if self._mapped < len(self.memory.arenas):
            self._attach_new_arenas()
        if (count > 0) is not self._counting:  # translated code counts, or does not (unicorn issue 2200)
            self._counting = count > 0
            self._forget_code()
        elif self._dropped > _MOST_DROPPED:
            self._forget_code()
        stop = self._run(rip, count, patience)
        if self._broken_off:
            stop = self._complete(stop)
        while stop.fault is not None and _translated_ahead(stop):
            again = self._run_to_page_end(stop, count)
            if again.fault is not None and again.rip == stop.rip:  # one instruction reaches over the end
                return again
            stop = again
        return stop

    def run_in_ring3(self, rip: int, pristine: unicorn.UcContext, count: int, patience: float) -> Stop:
        """As `run`, with a context of ring 3 loaded; `pristine` is one that never had an exception."""
        supervisor, self._pristine = self._pristine, pristine
        self.memory.user_mode = True
        try:
            return self.run(rip, count, patience)
        finally:
            self.memory.user_mode = False
            self._pristine = supervisor

    def _run_to_page_end(self, ahead: Stop, count: int) -> Stop:
        """Run what lies before a page that cannot be fetched: up to an exit, blocks are translated."""
        assert ahead.fault is not None
        end = ahead.fault.address
        self._uc.ctl_set_exits([end])
        try:
            stop = self._run(ahead.rip, count, math.inf)
        finally:
            self._uc.ctl_set_exits([])
            self._drop_code(end - PAGE_SIZE, PAGE_SIZE)
        reached = stop.rip == end and stop.reason in (StopReason.HALT, StopReason.COUNT)
        return ahead._replace(rip=end) if reached else stop

    def _run(self, rip: int, count: int, patience: float) -> Stop:
        if self.memory.crowded:
            self.memory.make_room()
        if self._to_forget:
            self._run_forgetter()
        self._fault = self._vector = self._error = None
        self._trapped = self._expired = self._entered_kernel = False
        self._overdue = 0
        if not count and self.counts_always:
            budget = _NO_LIMIT
        else:
            budget = count
            if not count and self._counted:
                self._stop_counting(rip)
        self._counted = bool(budget)
        self._running = True
        self.watchdog.start(patience)
        try:
            self._uc.emu_start(rip, 0, 0, budget)
            self._fault = None  # pages that Unicorn asked for, and then did not need
        except unicorn.UcError:
            if self._fault is None and self._vector is None and self._error is None:
                raise
        finally:
            self.watchdog.end()
            self._running = False
        if self._error is not None:
            raise self._error
        stop = self._stop(count)
        # What was stopped before an instruction whose hook was called comes back there.
        self._announced = stop.rip if stop.rip == self._about_to_run else None
        self._about_to_run = None
        return stop

    def _stop_counting(self, rip: int) -> None:
        """Start Unicorn without a budget, where nothing is run: it drops all translations then.

        For that it asks for the pages of all of them, also of those that are gone, and takes a refusal for a
        fault of whatever runs next.
        """
        self._uc.ctl_set_exits([rip])
        try:
            self._uc.emu_start(rip, 0, 0, 0)
        except unicorn.UcError:
            pass
        finally:
            self._uc.ctl_set_exits([])
            self._drop_code(rip & -PAGE_SIZE, PAGE_SIZE)
        self._fault = self._vector = None

    def _stop(self, count: int) -> Stop:
        rip = self.rip
        if self._vector is not None:
            self._forget_exception(self._vector)
            return Stop(StopReason.EXCEPTION, rip, fault=self._fault, vector=self._vector)
        if self._fault is not None:
            return Stop(StopReason.FAULT, rip, fault=self._fault)
        if self._trapped:
            return Stop(StopReason.TRAP, rip)
        if self._entered_kernel:
            return Stop(StopReason.SYSCALL, rip)
        if self._expired:
            return Stop(StopReason.LOCKUP if self.watchdog.over else StopReason.PATIENCE, rip)
        return Stop(StopReason.COUNT if count else StopReason.HALT, rip)

    def _forget_exception(self, vector: int) -> None:
        """Let the next exception be a first one.

        The processor holds an exception for undelivered, since none ever is, and would make the next one
        a double fault, the one after that a reset. Only a context without exception takes that from it.
        """
        if vector in _CONTRIBUTORY:
            self.reload(self._pristine)

    def stop_at_trap(self) -> None:
        """From a trap handler: leave `run` behind the `out`, before the guest reads the result."""
        self._trapped = True
        self._uc.emu_stop()

    @property
    def stopping(self) -> bool:
        """Inside a trap: whether its handler wants the run to stop, or failed."""
        return self._trapped or self._error is not None

    def _expire(self) -> None:
        """From the watchdog's thread, again and again: stop at the next trap or page of code, if one comes.

        Code that does neither for long is stopped where a block begins. Where hooks make Unicorn look behind
        each store as well (checks.py), an instruction that adds to memory may be run twice then.
        """
        self._expired = True
        self._overdue += 1
        if self._overdue > _GRACE:
            self._uc.emu_stop()

    # --- hooks: called by Unicorn, must not raise -----------------------------------------------------

    def _fill(self, engine: int, address: int, access: int, entry: Any) -> bool:
        wanted = _ACCESS[access]
        try:
            entry[0], entry[1] = self.memory.fill(address, wanted)
            if self._expired and wanted is Access.FETCH:
                self._uc.emu_stop()
        except PageFault as fault:
            self._fault = fault
            if address >> 47 not in _CANONICAL:
                self._vector = _GENERAL_PROTECTION
            return False
        except BaseException as error:
            self._fail(error)
            return False
        return True

    def _fail(self, error: BaseException) -> None:
        """From a hook: `run` raises this, since an exception must not cross Unicorn's frames."""
        self._error = error
        self._uc.emu_stop()

    def _out(self, engine: int, port: int, size: int, value: int) -> None:
        if self.memory.user_mode:  # Unicorn lets ring 3 do what a processor refuses
            self._vector = _GENERAL_PROTECTION
            self._uc.emu_stop()
            return
        try:
            if port != PORT:
                self.ports.write(port, size, value)
            elif value < len(self.traps):
                self.traps[value]()
            if self._expired:
                self._uc.emu_stop()
        except BaseException as error:
            self._fail(error)

    def _in(self, uc: object, port: int, size: int, _: object) -> int:
        if self.memory.user_mode:
            self._vector = _GENERAL_PROTECTION
            self._uc.emu_stop()
            return 0
        return self._ask(self.ports, port, size)

    def _ask(self, space: IoSpace, address: int, size: int) -> int:
        """What a device answers; all ones from a model that failed."""
        try:
            return space.read(address, size)
        except BaseException as error:
            self._fail(error)
            return (1 << 8 * size) - 1

    def open_mmio(self) -> None:
        """From now on physical addresses behind RAM reach `mmio`."""
        if not self._mmio_base:
            base = self._mmio_base = self.memory.ram_end
            self._uc.mmio_map(base, _IO_END - base, self._mmio_read, None, self._mmio_write, None)

    def _mmio_read(self, uc: object, offset: int, size: int, _: object) -> int:
        return self._access((offset, False), lambda: self._ask(self.mmio, self._mmio_base + offset, size))

    def _mmio_write(self, uc: object, offset: int, size: int, value: int, _: object) -> None:
        def tell() -> int:
            try:
                self.mmio.write(self._mmio_base + offset, size, value)
            except BaseException as error:
                self._fail(error)
            return 0

        self._access((offset, True), tell)

    def _access(self, what: tuple[int, bool], access: Callable[[], int]) -> int:
        """One access to device memory; a device sees each once.

        A stop that was asked for meanwhile takes effect at the end of the block of code. Where Unicorn looks
        everywhere, that is before the instruction is complete, which then has to be run again: `_complete`
        does so, with the answers that it got.
        """
        if not self._checks.everywhere:
            return access()
        if self._answers:
            return self._answers.pop(0)
        instruction = self.rip, self.read("rcx")  # the latter counts what `rep` repeats
        if instruction != self._accessing or what in self._accesses:  # the latter: it is executed once more
            self._accessing, self._accesses = instruction, {}
        answer = self._accesses[what] = access()
        self._broken_off = self._trapped or self._expired
        return answer

    def _complete(self, stop: Stop) -> Stop:
        """Run the rest of an instruction that a stop broke off."""
        self._broken_off, self._answers = False, list(self._accesses.values())
        if not self._counting:
            self._counting = True
            self._forget_code()
        done = self._run(stop.rip, 1, math.inf)
        self._broken_off, self._answers, self._accessing = False, [], None
        return stop._replace(rip=done.rip) if done.reason in (StopReason.COUNT, StopReason.TRAP) else done

    def _syscall(self, uc: object, _: object) -> None:
        if self.memory.user_mode:
            self._entered_kernel = True
        else:
            self._vector = _INVALID_OPCODE
        self._uc.emu_stop()

    def _interrupt(self, uc: object, vector: int, _: object) -> None:
        if self._vector is None:  # behind an `out` in ring 3 the rest of its block still runs
            self._vector = vector
        self._uc.emu_stop()

    def _invalid(self, uc: object, _: object) -> bool:
        self._vector = _INVALID_OPCODE
        return False

    # --- memory -------------------------------------------------------------------------------------

    def _attach_new_arenas(self) -> None:
        for arena in self.memory.arenas[self._mapped :]:
            self._uc.mem_map_ptr(arena.paddr, arena.size, uc_const.UC_PROT_ALL, arena.host_address)
            self._mapped += 1

    def flush_tlb(self) -> None:
        """Forget cached translations of addresses, after permissions or mappings changed."""
        self._to_forget = []
        self._uc.ctl(uc_const.UC_CTL_TLB_FLUSH, uc_const.UC_CTL_IO_WRITE)

    def use_forgetter(self, address: int, places: memoryview) -> None:
        """Guest code that forgets the translations of pages, and where it finds their addresses."""
        self._forgetter, self._forgotten = address, places

    def _forget_pages(self, addresses: Collection[int]) -> bool:
        """Forget cached translations of some pages; False if that has to be all of them."""
        many = (len(self._to_forget) + len(addresses)) * 8 > len(self._forgotten)
        if many or self._running or self._counting or self._counted or self._observed:
            return False
        self._to_forget += addresses
        return True

    def _run_forgetter(self) -> None:
        """Guest code alone can name a page to forget; it runs in the kernel, and nobody is to see it."""
        if self.memory.user_mode or self._counting or self._counted or self._observed:
            self.flush_tlb()
            return
        pages, self._to_forget = self._to_forget, []
        struct.pack_into(f"<{len(pages)}Q", self._forgotten, 0, *pages)
        context = self.save()
        self.write("rcx", len(pages))
        self._uc.emu_start(self._forgetter, 0)
        if self.read("rcx"):  # a late stop of the watchdog came in between
            self.flush_tlb()
        self.restore(context)
        self._forgotten[: 8 * len(pages)] = bytes(8 * len(pages))

    def _drop_code(self, address: int, size: int) -> None:
        """Forget translated code of a range of addresses; `_forget_code` then frees what it took."""
        self._uc.ctl_remove_cache(address, address + size)
        self._dropped += max(size, _CODE_AROUND)

    def _forget_code(self) -> None:
        """Forget all translated code; not while any of it runs."""
        self._checks.look(everywhere=self._counting or self._observed > 0 or self._hooked)
        self._uc.ctl_flush_tb()
        self._dropped = 0

    # --- observation: costs nothing until asked for ---------------------------------------------------

    def _cpuid(self, uc: unicorn.Uc, _data: object) -> bool:
        """The processor says what it is; whether that was all there is to do."""
        leaf, subleaf = uc.reg_read(x86.UC_X86_REG_EAX), uc.reg_read(x86.UC_X86_REG_ECX)
        for name, value in zip(_CPUID_REGISTERS, cpuid.answer(leaf, subleaf), strict=True):
            uc.reg_write(name, value)
        return True

    def after_traps(self, callback: Callable[[], None] | None) -> None:
        """Call `callback` whenever the handler of a trap has returned; None ends it.

        Who does so comes back to places in time: from here on, stops are seen alike whoever counts or not.
        """

        def out(engine: int, port: int, size: int, value: int) -> None:
            self._out(engine, port, size, value)
            if port == PORT and callback is not None and not self.memory.user_mode:
                try:
                    callback()
                except BaseException as error:
                    self._fail(error)

        if callback is not None:
            self._look_everywhere()
        self._end_out()
        self._end_out = hooks.on_out(self._uc, out if callback is not None else self._out)

    def before(self, address: int, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` before each execution of one instruction; it may call `stop_at_trap`.

        Returns:
            What ends it.
        """

        def reached(uc: object, address: int, size: int, _: object) -> None:
            callback()

        def remove() -> None:
            self._uc.hook_del(hook)
            self._translate_anew(address)

        hook = self._uc.hook_add(uc_const.UC_HOOK_CODE, reached, None, address, address)
        self._look_everywhere()
        self._translate_anew(address)
        return remove

    def _look_everywhere(self) -> None:
        """Let code that is translated from here on look for a stop at each instruction, for good."""
        if not self._hooked:
            self._hooked = True
            self._checks.look(everywhere=True)
            if not self._running:
                self._forget_code()

    def _translate_anew(self, address: int) -> None:
        """Translated code of a page knows only the hooks that there were (unicorn issue 2200)."""
        self._drop_code(address & -PAGE_SIZE, PAGE_SIZE)

    def follow(self, begin: int, end: int, callback: Callable[[int], None]) -> Callable[[], None]:
        """Call `callback` with the address of each instruction from `begin` to `end` before it is executed.

        Code there runs some hundred times slower meanwhile, other code as fast as ever.

        Returns:
            What ends it.
        """

        def reached(uc: object, address: int, size: int, _: object) -> None:
            if address == self._announced:
                self._announced = None
                return
            began = time.process_time()
            self._about_to_run = address
            try:
                callback(address)
            except BaseException as error:
                self._fail(error)
            self.watchdog.forgive(time.process_time() - began)

        def remove() -> None:
            self._observed -= 1
            self._uc.hook_del(hook)
            self._forget_code()

        self._observed += 1
        hook = self._uc.hook_add(uc_const.UC_HOOK_CODE, reached, None, begin, end)
        self._forget_code()  # translated blocks do not know the hook yet (unicorn issue 2200)
        return remove

    @contextmanager
    def counting(self) -> Iterator[Callable[[], int]]:
        """Count instructions executed inside the block; yields a function giving the count so far.

        All code runs some hundred times slower meanwhile.
        """
        executed = 0

        def count(uc: object, address: int, size: int, _: object) -> None:
            nonlocal executed
            executed += 1

        self._observed += 1
        hook = self._uc.hook_add(uc_const.UC_HOOK_CODE, count)
        self._forget_code()  # translated blocks do not know the hook yet (unicorn issue 2200)
        try:
            yield lambda: executed
        finally:
            self._observed -= 1
            self._uc.hook_del(hook)
            self._forget_code()


def _translated_ahead(stop: Stop) -> bool:
    """Whether the next page stopped a block on its way to be translated, before any of it was run."""
    fault = stop.fault
    if fault is None or fault.access is not Access.FETCH:
        return False
    return (stop.rip | (PAGE_SIZE - 1)) + 1 == fault.address
