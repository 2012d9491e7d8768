"""What drivers call to have interrupts and to hold them off (kernel/irq/manage.c, autoprobe.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.kernel.exports import Fidelity, export
from kmod_emu.kernel.irq import IRQF_ONESHOT, IRQF_SHARED, Action, Line
from kmod_emu.kernel.preempt import in_interrupt
from kmod_emu.uapi import errno

if TYPE_CHECKING:
    from kmod_emu.kernel.kernel import KernelCore

_TRIGGERS = 0xF  # IRQF_TRIGGER_MASK
_NO_SUSPEND, _COND_SUSPEND, _NO_AUTOEN, _PROBE_SHARED = 0x4000, 0x4_0000, 0x8_0000, 0x100
_NOTCONNECTED = 1 << 31
_IRQC_IS_HARDIRQ = 0


def _refuse_flags(flags: int, dev_id: int) -> None:
    """Flags that contradict each other."""
    wrong = (
        (flags & IRQF_SHARED and not dev_id, "IRQF_SHARED needs a dev_id"),
        (flags & IRQF_SHARED and flags & _NO_AUTOEN, "a shared line cannot start disabled"),
        (not flags & IRQF_SHARED and flags & _COND_SUSPEND, "IRQF_COND_SUSPEND is for shared lines"),
        (flags & _NO_SUSPEND and flags & _COND_SUSPEND, "IRQF_NO_SUSPEND and IRQF_COND_SUSPEND exclude"),
    )
    for is_wrong, text in wrong:
        if is_wrong:
            raise KernelError(errno.EINVAL, text)


@export(
    "int request_threaded_irq(unsigned int irq, irq_handler_t handler, irq_handler_t thread_fn,"
    " unsigned long irqflags, const char *devname, void *dev_id)"
)
def request_threaded_irq(
    kernel: KernelCore, irq: int, handler: int, thread_fn: int, irqflags: int, devname: int, dev_id: int
) -> int:
    """Have a function called when a line is raised (kernel/irq/manage.c); request_irq() is inlined."""
    if irq == _NOTCONNECTED:
        return -errno.ENOTCONN
    _refuse_flags(irqflags, dev_id)
    line = kernel.irqs.line(irq)
    if not handler and not thread_fn:
        raise KernelError(errno.EINVAL, "neither a handler nor a thread function was given")
    name = kernel.memory.read_text(devname) if devname else "(null)"
    if not irqflags & _TRIGGERS:
        irqflags |= line.trigger
    action = Action(handler, thread_fn, irqflags, name, devname, dev_id)
    _fits(kernel, irq, line, action)
    if not handler and not irqflags & IRQF_ONESHOT:
        text = f"Threaded irq requested with handler=NULL and !ONESHOT for {name} (irq {irq})"
        kernel.printk.emit(f"genirq: {text}\n", 3)
        return -errno.EINVAL
    if thread_fn:
        kernel.tasks.check_limit()
        action.thread = kernel.tasks.create_thread(f"irq/{irq}-{name}"[:15]).pid
    if not line.actions:
        line.depth = int(bool(irqflags & _NO_AUTOEN))
        line.trigger = irqflags & _TRIGGERS or line.trigger
        line.streak = line.unhandled = 0
        line.spurious = False
    line.actions.append(action)
    return 0


def _fits(kernel: KernelCore, irq: int, line: Line, new: Action) -> None:
    """Whether it may join those that a line has (kernel/irq/manage.c: __setup_irq)."""
    if not line.actions:
        return
    old = line.actions[0]
    together = old.flags & new.flags & IRQF_SHARED
    if together and line.trigger == new.flags & _TRIGGERS and not (old.flags ^ new.flags) & IRQF_ONESHOT:
        return
    if not new.flags & _PROBE_SHARED:
        pair = f"{new.flags:08x} ({new.name}) vs. {old.flags:08x} ({old.name})"
        kernel.printk.emit(f"genirq: Flags mismatch irq {irq}. {pair}\n", 3)
    raise KernelError(errno.EBUSY, f"line {irq} is taken by {old.name}, and both do not share it alike")


@export(
    "int request_any_context_irq(unsigned int irq, irq_handler_t handler, unsigned long flags,"
    " const char *name, void *dev_id)"
)
def request_any_context_irq(
    kernel: KernelCore, irq: int, handler: int, flags: int, name: int, dev_id: int
) -> int:
    """As request_irq: no line here needs a thread (kernel/irq/manage.c)."""
    return request_threaded_irq(kernel, irq, handler, 0, flags, name, dev_id) or _IRQC_IS_HARDIRQ


@export("const void *free_irq(unsigned int irq, void *dev_id)")
async def free_irq(kernel: KernelCore, irq: int, dev_id: int) -> int:
    """Be called no longer; the name that was given, NULL if nothing was (kernel/irq/manage.c)."""
    line = kernel.irqs.lines.get(irq)
    if line is None:
        return 0
    if in_interrupt(kernel):
        text = f"Trying to free IRQ {irq} from IRQ context!"
        kernel.warnings.warn("kernel/irq/manage.c", 1872, text, "free_irq+0x2b7/0x340")
    action = next((a for a in line.actions if a.dev_id == dev_id and not a.built_in), None)
    if action is None:
        text = f"Trying to free already-free IRQ {irq}"
        kernel.warnings.warn("kernel/irq/manage.c", 1887, text, "free_irq+0x1d3/0x340")
        return 0
    line.actions.remove(action)
    if not line.actions:
        line.depth, line.pending, line.trigger = 1, False, 0
    await kernel.irqs.wait_for_thread(action)
    if task := kernel.irqs.thread_of(action):
        kernel.tasks.exit(task)
    return action.name_at


def _disable(kernel: KernelCore, irq: int) -> Line | None:
    line = kernel.irqs.lines.get(irq)
    if line is not None:
        line.depth += 1
    return line


@export("void disable_irq_nosync(unsigned int irq)")
def disable_irq_nosync(kernel: KernelCore, irq: int) -> None:
    """Hold a line's interrupts off; nests (kernel/irq/manage.c)."""
    _disable(kernel, irq)


@export("void disable_irq(unsigned int irq)")
async def disable_irq(kernel: KernelCore, irq: int) -> None:
    """Hold a line's interrupts off, and wait for its threads (kernel/irq/manage.c)."""
    _disable(kernel, irq)
    await synchronize_irq(kernel, irq)


@export("bool disable_hardirq(unsigned int irq)")
def disable_hardirq(kernel: KernelCore, irq: int) -> bool:
    """Hold a line's interrupts off, and wait for handlers but not threads (kernel/irq/manage.c)."""
    return _disable(kernel, irq) is not None


@export("void enable_irq(unsigned int irq)")
async def enable_irq(kernel: KernelCore, irq: int) -> None:
    """Undo one disable_irq(); what came meanwhile comes now (kernel/irq/manage.c)."""
    line = kernel.irqs.lines.get(irq)
    if line is None:
        return
    if not line.depth:
        text = f"Unbalanced enable for IRQ {irq}"
        kernel.warnings.warn("kernel/irq/manage.c", 781, text, "__enable_irq+0x37/0x60")
        return
    line.depth -= 1
    kernel.irqs.resend(irq)


@export("void synchronize_irq(unsigned int irq)")
async def synchronize_irq(kernel: KernelCore, irq: int) -> None:
    """Wait until no handler and no thread of a line runs (kernel/irq/manage.c)."""
    line = kernel.irqs.lines.get(irq)
    for action in list(line.actions) if line else ():
        await kernel.irqs.wait_for_thread(action)


@export("bool synchronize_hardirq(unsigned int irq)")
def synchronize_hardirq(kernel: KernelCore, irq: int) -> bool:
    """Wait until no handler runs: with one processor none does (kernel/irq/manage.c)."""
    line = kernel.irqs.lines.get(irq)
    return line is None or not any(action.busy for action in line.actions)


@export("void irq_wake_thread(unsigned int irq, void *dev_id)")
def irq_wake_thread(kernel: KernelCore, irq: int, dev_id: int) -> None:
    """Run an action's thread without an interrupt (kernel/irq/manage.c)."""
    line = kernel.irqs.lines.get(irq)
    for action in line.actions if line else ():
        if action.dev_id == dev_id and action.thread:
            kernel.irqs.wake_thread(irq, action)
            return


@export("int irq_set_irq_type(unsigned int irq, unsigned int type)")
def irq_set_irq_type(kernel: KernelCore, irq: int, type_: int) -> int:
    """Which edge or level raises a line: models raise it as they see fit (kernel/irq/chip.c)."""
    kernel.irqs.line(irq)
    return 0


@export("int irq_set_irq_wake(unsigned int irq, unsigned int on)", Fidelity.APPROXIMATE)
def irq_set_irq_wake(kernel: KernelCore, irq: int, on: int) -> int:
    """Whether a line wakes the machine from suspend, which it never enters (kernel/irq/manage.c)."""
    kernel.irqs.line(irq)
    return 0


@export(
    "int __irq_apply_affinity_hint(unsigned int irq, const struct cpumask *m, bool setaffinity)",
    Fidelity.APPROXIMATE,
)
def __irq_apply_affinity_hint(kernel: KernelCore, irq: int, m: int, setaffinity: bool) -> int:
    """Where a line is served: there is one processor (kernel/irq/manage.c)."""
    kernel.irqs.line(irq)
    return 0


@export("int irq_set_affinity(unsigned int irq, const struct cpumask *cpumask)", Fidelity.APPROXIMATE)
def irq_set_affinity(kernel: KernelCore, irq: int, cpumask: int) -> int:
    """Where a line is served: there is one processor (kernel/irq/manage.c)."""
    kernel.irqs.line(irq)
    return 0


@export("unsigned long probe_irq_on(void)")
def probe_irq_on(kernel: KernelCore) -> int:
    """Watch the lines that nobody has requested; those of them below 32, as bits (autoprobe.c)."""
    free = [number for number, line in kernel.irqs.lines.items() if not line.actions]
    kernel.irqs.probing = dict.fromkeys(free, False)
    return sum(1 << number for number in free if number < 32)


@export("int probe_irq_off(unsigned long val)")
def probe_irq_off(kernel: KernelCore, val: int) -> int:
    """The line that was raised since; 0 for none, negative for several (autoprobe.c)."""
    raised = [number for number, was in (kernel.irqs.probing or {}).items() if was]
    kernel.irqs.probing = None
    return 0 if not raised else raised[0] if len(raised) == 1 else -raised[0]


@export("unsigned int probe_irq_mask(unsigned long val)")
def probe_irq_mask(kernel: KernelCore, val: int) -> int:
    """The lines that were raised since, as bits (autoprobe.c)."""
    raised = [number for number, was in (kernel.irqs.probing or {}).items() if was]
    kernel.irqs.probing = None
    return sum(1 << number for number in raised if number < 32) & val
