"""request_module(): kmod of Linux 2.4, and kerneld before it."""

import pytest

from kmod_emu import KernelError, samples
from kmod_emu.classic import ClassicKernel
from kmod_emu.classic.kerneld import parse
from kmod_emu.classic.kmod import MAX_MODPROBES, Daemon, ModuleLoader
from kmod_emu.classic.modules import ModuleList
from kmod_emu.kmod.errors import ToolError
from tests.classic.test_tools import classic, rows  # noqa: F401


@pytest.fixture
def kernel():
    return ClassicKernel()


def needs(kernel, wanted):
    """What request_module() returns to the sample, and the names that were told of on the way."""
    told = []
    stop = kernel.events.listen(lambda event: told.append((event.name, event.detail)))
    kernel.insmod(samples.classic("needs"), [f"wanted={wanted}"])
    stop()
    kernel.rmmod("needs")
    return kernel.dmesg()[-1].rpartition(" ")[2], told


def names(kernel):
    return [kernel[ModuleList].name(module) for module in kernel.modules]


def test_the_kernel_runs_modprobe(kernel):
    result, told = needs(kernel, "msdos")
    assert (result, names(kernel)) == ("0", ["msdos", "fat"])
    commands = [
        detail["command"] for name, detail in told if name in ("classic_modprobe", "classic_run_insmod")
    ]
    assert commands == [
        "/sbin/modprobe -s -k -- msdos",
        "/sbin/insmod -k /lib/modules/2.4.32/fat.o",
        "/sbin/insmod -k /lib/modules/2.4.32/msdos.o",
    ]
    assert "msdos                    580   0 (autoclean) (unused)" in kernel.cat("/proc/modules").decode()


def test_it_is_0_whatever_came_of_it(kernel):
    assert needs(kernel, "nobody")[0] == "0"
    assert needs(kernel, "ret_enodev")[0] == "0"
    assert names(kernel) == []


def test_no_modprobe(kernel):
    with kernel.process() as process:
        fd = process.open("/proc/sys/kernel/modprobe", 1)
        process.write(fd, b"/bin/true\n")
    assert needs(kernel, "fat")[0] == "0"
    assert kernel.dmesg()[-2] == "kmod: failed to exec /bin/true -s -k fat, errno = 2"


def test_a_device_file_has_its_driver_loaded(kernel):
    with kernel.process() as process:
        fd = process.open("/etc/conf.modules", 0o101)
        process.write(fd, b"alias char-major-254 chardev\n")
        process.mknod("/dev/c", 0o020666, 254 << 8)
        assert process.write(process.open("/dev/c", 2), b"x") == 1
        assert b"   1 (autoclean)\n" in kernel.cat("/proc/modules")
        process.mknod("/dev/d", 0o020666, 200 << 8)
        with pytest.raises(KernelError):
            process.open("/dev/d", 2)


def test_a_module_that_asks_for_itself_does_not_go_round_for_ever(kernel):
    """Its modprobe finds it on the list."""
    assert needs(kernel, "needs")[0] == "0"


def test_runaway_loops_are_stopped(kernel):
    async def ask(depth):
        kernel[ModuleLoader]._running = depth
        return await kernel[ModuleLoader].request("nobody")

    assert kernel.run(ask(MAX_MODPROBES)) == -12
    assert kernel.dmesg() == ["kmod: runaway modprobe loop assumed and stopped"]


def test_kerneld(kernel):
    kernel[ModuleLoader].daemon = Daemon()
    result, told = needs(kernel, "msdos")
    assert (result, names(kernel)) == ("0", ["msdos", "fat"])
    steps = [
        (name, detail) for name, detail in told if name.startswith(("classic_kerneld", "classic_modprobe"))
    ]
    assert [name for name, _ in steps] == [
        "classic_kerneld_send",
        "classic_kerneld_receive",
        "classic_modprobe",
        "classic_kerneld_answer",
    ]
    assert steps[0][1]["text"] == "msdos"
    assert steps[2][1] == {"command": "/sbin/modprobe -k -s msdos", "pid": steps[1][1]["child"]}
    assert needs(kernel, "nobody")[0] == "1", "kerneld's answer is what modprobe ended with"


def test_kerneld_removes_what_nobody_uses(kernel):
    kernel[ModuleLoader].daemon = Daemon(delay=10)
    needs(kernel, "msdos")
    kernel.rmmod("msdos")
    kernel.advance(9)
    assert names(kernel) == ["fat"]
    kernel.advance(2)
    assert names(kernel) == []


def test_kerneld_may_keep_them(kernel):
    kernel[ModuleLoader].daemon = Daemon(delay=10, keep=True)
    needs(kernel, "msdos")
    kernel.rmmod("msdos")
    kernel.advance(100)
    assert names(kernel) == ["fat"]


def test_on_the_kept_machine(classic):  # noqa: F811
    assert classic("kerneld", "delay=30").exit_code == 0
    classic("insmod", samples.classic("needs"), "wanted=fat")
    classic("insmod", samples.classic("msdos"))
    classic("rmmod", "msdos")
    assert rows(classic("lsmod")) == ["fat   0 (autoclean)", "needs   0 (unused)"]
    classic("sleep", "20")
    assert rows(classic("lsmod"))[0] == "fat   0 (autoclean)"
    classic("sleep", "20")
    assert rows(classic("lsmod")) == ["needs   0 (unused)"]
    assert classic("kerneld", "stop").exit_code == 0
    assert classic("kerneld", "fast").stderr == "kerneld: unknown argument 'fast'\n"


@pytest.mark.parametrize("words", [["delay=0"], ["delay=x"], ["stop", "keep"], ["delay=99999999999"]])
def test_arguments_that_make_no_sense(words):
    with pytest.raises(ToolError):
        parse(words)


def test_two_who_ask_kerneld_for_the_same_wait_for_one_modprobe(kernel):
    kernel[ModuleLoader].daemon = Daemon()
    told = []
    kernel.events.listen(lambda event: told.append((event.name, event.detail)))

    async def ask():
        return await kernel.request_module("msdos")

    first, second = kernel.tasks.worker(), kernel.process().task
    kernel.sched.start(second, ask())
    assert kernel.sched.run(first, ask()) == 0
    assert kernel.sched.wait_for(second) == 0
    assert [name for name, _ in told].count("classic_modprobe") == 1
    received = [detail for name, detail in told if name == "classic_kerneld_receive"]
    assert [detail["shared"] for detail in received] == [False, True]
    assert kernel[ModuleLoader].queue == []


def test_a_module_that_crashes_under_kerneld(kernel, tmp_path):
    """Who asked is told that a signal ended modprobe, and goes on."""
    blob = samples.classic("ret_enodev").read_bytes()
    code = blob.index(b"\x8b", 64)
    broken = blob[:code] + b"\x0f\x0b" + blob[code + 2 :]  # ud2
    (tmp_path / "ret_enodev.o").write_bytes(broken)
    (tmp_path / "modules.dep").write_text("/lib/modules/2.4.32/ret_enodev.o:\n")
    kernel[ModuleLoader].directory = str(tmp_path)
    kernel[ModuleLoader].daemon = Daemon()
    assert needs(kernel, "ret_enodev")[0] == "11"
    assert b"ret_enodev" in kernel.cat("/proc/modules")


def test_what_modprobe_says_is_in_the_system_log(kernel):
    needs(kernel, "nobody")
    needs(kernel, "ret_enodev")
    lines = [
        line.partition("debian ")[2] or line for line in kernel.cat("/var/log/syslog").decode().splitlines()
    ]
    said = [
        line.partition("modprobe: ")[2] for line in lines if "modprobe: " in line and "kernel:" not in line
    ]
    assert said[0] == "modprobe: Can't locate module nobody"
    assert said[1].endswith("ret_enodev.o: init_module: No such device")
    assert said[-1] == "modprobe: insmod ret_enodev failed"


def test_tools_that_report_to_the_system_log(classic):  # noqa: F811
    for words in (
        ("insmod", "-s", samples.classic("ret_enodev")),
        ("rmmod", "-s", "nobody"),
        ("modprobe", "-s", "nobody"),
    ):
        result = classic(*words)
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", "")
    text = classic("syslog").stdout
    assert "insmod: " in text
    assert "rmmod: rmmod: module nobody is not loaded\n" in text
    assert "modprobe: modprobe: Can't locate module nobody\n" in text
