"""A distribution's own kernel as the base kernel: it boots, and its modules load, run and unload."""

import pytest

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.errors import Killed, SleepsForever
from kmod_emu.module.modules import ModuleState
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_WRONLY
from kmod_emu.vmlinux.errors import BadImage
from kmod_emu.vmlinux.kernel import VmlinuxKernel


def test_the_kernel_boots_to_the_point_where_it_would_run_init(real):
    assert real.boot.finished
    assert any(line.startswith("Linux version 6.1.0-") for line in real.dmesg())
    assert "Run /sbin/init as init process" in real.dmesg()
    assert not [report for report in real.findings.reports if report["kind"] != "warning"]


def test_every_initcall_is_told_with_its_result(real):
    results = {initcall.name: initcall for initcall in real.boot.initcalls}
    assert len(results) > 500
    assert results["inet_init"].result == 0
    assert results["do_init_real_mode"].result is None
    assert results["do_init_real_mode"].reason == "no other processor is to be started"


def test_kernel_threads_are_the_kernels_own(real):
    names = {task.comm for task in real.tasks.by_pid.values()}
    assert {"kthreadd", "ksoftirqd/0", "rcu_gp", "kdevtmpfs"} <= names


def test_a_module_of_ones_own_loads_runs_and_unloads(real):
    real.printk.clear()
    module = real.insmod(samples.path("hello"))
    assert module.state is ModuleState.LIVE
    real.rmmod("hello")
    assert real.dmesg() == [
        "hello: loading out-of-tree module taints kernel.",
        "hello: module verification failed: signature and/or required key missing - tainting kernel",
        "Hello world!",
        "Cleaning up module.",
    ]
    assert real.modules == []


def test_a_module_waits_for_what_a_thread_of_the_kernels_does(real, distribution_module):
    """libcrc32c waits until the thread cryptomgr_test has tried what crc32c_generic registered."""
    real.insmod(distribution_module("crypto/crc32c_generic"))
    real.insmod(distribution_module("lib/libcrc32c"))
    assert [(m.name, m.refcnt) for m in real.modules] == [("libcrc32c", 0), ("crc32c_generic", 1)]
    with pytest.raises(KernelError) as refused:
        real.rmmod("crc32c_generic")
    assert refused.value.errno == 11
    real.rmmod("libcrc32c")
    real.rmmod("crc32c_generic")


def test_a_module_without_what_it_needs_is_refused_in_the_kernels_words(real, distribution_module):
    real.printk.clear()
    with pytest.raises(KernelError) as refused:
        real.insmod(distribution_module("net/netfilter/nft_reject"))
    assert refused.value.errno == 2
    assert any(line.startswith("nft_reject: Unknown symbol ") for line in real.dmesg())
    assert real.modules == []


def test_code_is_chosen_for_the_processor_of_the_kernel(real, distribution_module):
    """conform found it: the kernel's own loader has popcnt there, ours left the call of a function."""
    module = real.insmod(distribution_module("drivers/input/serio/pcips2"))
    text = module.regions["core"]
    assert b"\xf3\x0f\xb8\xc7" in real.memory.read(text.base, text.text_size)  # popcnt %edi,%eax


def test_static_keys_are_patched_back_and_forth(real, distribution_module):
    """Code was executed, patched, read, executed and patched again: the last patch was not seen once."""
    real.insmod(distribution_module("lib/test_static_key_base"))
    assert real.insmod(distribution_module("lib/test_static_keys")).init_rc == 0


def test_system_calls_enter_the_kernel(real):
    with real.process(comm="someone") as process:
        assert process.syscall("getpid") == process.pid
        assert process.syscall("getppid") == 1
        assert process.syscall("close", 77) == -9
    assert process.pid not in real.tasks.by_pid


@pytest.mark.parametrize(
    ("blob", "sentence"),
    [
        (b"", "an empty file"),
        (b"MZ" + bytes(2000), "not a kernel image"),
        (b"\x7fELF" + bytes(20), "not an ELF file"),
    ],
)
def test_what_is_no_kernel_is_refused_with_a_sentence(blob, sentence):
    with pytest.raises(BadImage, match=sentence):
        VmlinuxKernel(blob)


def test_a_kernel_that_is_cut_off_is_refused(vmlinuz):
    with open(vmlinuz, "rb") as file, pytest.raises(BadImage, match="cut off"):
        VmlinuxKernel(file.read()[:-1_000_000])


@pytest.mark.parametrize("name", ["kthread", "idr", "lists", "waitqueue", "completion"])
def test_samples_say_what_they_say_on_the_stub_kernel(real, name):
    def told(kernel):
        since = len(kernel.dmesg())
        kernel.insmod(samples.path(name))
        kernel.sleep(1)
        kernel.rmmod(name)
        return [
            line for line in kernel.dmesg()[since:] if line.startswith(f"{name}: ") and "taint" not in line
        ]

    assert sorted(told(real)) == sorted(told(Kernel()))


def test_timers_have_high_resolution(real):
    real.insmod(samples.path("hrtimer"))
    said = [line for line in real.dmesg() if line.startswith("hrtimer: ")]
    assert "hrtimer: 4 times during a busy wait of 1100 us, active: 1" in said
    assert "hrtimer: 8 times in the end, all in interrupts: 1" in said


def test_a_softirq_that_is_raised_again_and_again_lets_time_pass(real):
    """ksoftirqd goes round while a tasklet is disabled; a task that sleeps is woken all the same."""
    real.insmod(samples.path("tasklet"))
    assert "tasklet: of the old style, with 42" in real.dmesg()
    assert real.clock.now_ns < 10_000_000_000


def test_code_that_spins_is_a_soft_lockup_though_timers_go_off(real):
    with pytest.raises(Killed):
        real.insmod(samples.path("spin"))
    assert any("watchdog: BUG: soft lockup - CPU#0 stuck for" in line for line in real.dmesg())


def test_a_sleep_that_nobody_ends_is_noticed_by_khungtaskd(real):
    with pytest.raises(SleepsForever) as sleeps:
        real.insmod(samples.path("selfdeadlock"))
    assert sleeps.value.explanation == "insmod has slept for 5 minutes"
    assert any("INFO: task insmod:" in line and "blocked for more than" in line for line in real.dmesg())


def test_what_a_module_may_say_for_debugging_is_in_the_kernels_list(real, distribution_module):
    """conform found it by amdgpu, which has classes of such messages."""
    control = "/sys/kernel/debug/dynamic_debug/control"
    real.insmod(distribution_module("fs/configfs/configfs"))
    assert "[configfs]" in real.cat(control).decode()
    real.rmmod("configfs")
    assert "[configfs]" not in real.cat(control).decode()


def test_a_kernel_that_is_locked_down_takes_no_unsigned_module(real):
    """By its own securityfs; our loader asks it."""
    with real.process() as process:
        process.write(process.open("/sys/kernel/security/lockdown", O_WRONLY), b"integrity")
    with pytest.raises(KernelError) as refused:
        real.insmod(samples.path("hello"))
    assert refused.value.errno == errno.EPERM
    assert real.dmesg()[-1] == (
        "Lockdown: insmod: unsigned module loading is restricted; see man kernel_lockdown.7"
    )


def test_a_stack_that_the_kernel_dumps_names_the_machine(real):
    real.call(real.symbol("dump_stack"))
    assert "Hardware name: kmod-emu virtual machine" in real.dmesg()
