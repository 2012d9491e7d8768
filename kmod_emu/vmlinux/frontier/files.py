"""Every file that declares a part of the frontier: importing this fills the table."""

import kmod_emu.kernel.misc
import kmod_emu.kernel.usercopy
import kmod_emu.vmlinux.frontier.boot
import kmod_emu.vmlinux.frontier.console
import kmod_emu.vmlinux.frontier.entropy
import kmod_emu.vmlinux.frontier.hardware
import kmod_emu.vmlinux.frontier.kallsyms
import kmod_emu.vmlinux.frontier.memory
import kmod_emu.vmlinux.frontier.mm
import kmod_emu.vmlinux.frontier.mpi
import kmod_emu.vmlinux.frontier.pages
import kmod_emu.vmlinux.frontier.rcu
import kmod_emu.vmlinux.frontier.sched
import kmod_emu.vmlinux.frontier.sheaves
import kmod_emu.vmlinux.frontier.text
import kmod_emu.vmlinux.frontier.time  # noqa: F401
