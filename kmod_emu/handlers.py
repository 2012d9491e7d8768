"""Every file that registers exports or system calls: importing this fills the registries."""

import kmod_emu.fs.seq_file
import kmod_emu.fs.seq_print
import kmod_emu.fs.sysfs_group
import kmod_emu.fs.uevent
import kmod_emu.kernel.clock
import kmod_emu.kernel.ftrace
import kmod_emu.kernel.hrtimer
import kmod_emu.kernel.kobject
import kmod_emu.kernel.kprobes
import kmod_emu.kernel.kretprobes
import kmod_emu.kernel.kset
import kmod_emu.kernel.kthread
import kmod_emu.kernel.locking
import kmod_emu.kernel.misc
import kmod_emu.kernel.notifier
import kmod_emu.kernel.oops
import kmod_emu.kernel.pages
import kmod_emu.kernel.paravirt
import kmod_emu.kernel.percpu
import kmod_emu.kernel.pid
import kmod_emu.kernel.poll
import kmod_emu.kernel.printk
import kmod_emu.kernel.rcu
import kmod_emu.kernel.schedule
import kmod_emu.kernel.signal
import kmod_emu.kernel.slab
import kmod_emu.kernel.softirq
import kmod_emu.kernel.tasks
import kmod_emu.kernel.timer
import kmod_emu.kernel.uaccess
import kmod_emu.kernel.vmalloc
import kmod_emu.kernel.workqueue
import kmod_emu.module.modules
import kmod_emu.module.refcount
import kmod_emu.module.syscalls
import kmod_emu.user.syscalls  # noqa: F401
