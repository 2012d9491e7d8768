"""`kmod-emu --classic TOOL` on a machine of its own beside the modern one."""

import errno
import os

import pytest

from kmod_emu import KernelError, samples
from kmod_emu.classic import ClassicKernel
from kmod_emu.classic.char_dev import ClassicCharDevices

HEADER = "Module                  Size  Used by    Not tainted\n"
SAMPLES = samples.CLASSIC


@pytest.fixture
def classic(cli):
    return lambda *words: cli("--classic", *words)


def rows(result):
    """The lines of lsmod without the sizes, which depend on where the files lie."""
    return [line[:20].rstrip() + line[28:] for line in result.stdout.splitlines()[1:]]


def test_two_machines(cli, classic):
    assert classic("boot").stdout.startswith("Linux version 2.4.32 ")
    assert classic("insmod", SAMPLES / "hello.o").exit_code == 0
    assert cli("insmod", samples.path("hello")).exit_code == 0
    assert classic("lsmod").stdout.startswith(HEADER + "hello  ")
    assert cli("lsmod").stdout == "Module                  Size  Used by\nhello                  16384  0\n"
    assert classic("rmmod", "hello").exit_code == 0
    assert (classic("lsmod").stdout, classic("dmesg", "-t").stdout) == (
        HEADER,
        "Hello world!\nCleaning up module.\n",
    )
    assert "hello" in cli("lsmod").stdout


def test_a_state_file_given(cli, classic):
    cli("--state", "x", "--classic", "insmod", SAMPLES / "hello.o")
    assert "hello" in cli("--state", "x.classic", "lsmod").stdout
    assert "hello" in cli("--state", "x.classic", "cat", "/proc/ksyms").stdout
    assert "hello" not in classic("lsmod").stdout
    cli("--state", "x", "boot")
    assert "hello" in cli("--state", "x", "--classic", "lsmod").stdout


def test_the_other_personality_is_refused(cli, classic, tmp_path):
    cli("boot")
    (tmp_path / "machine.kmod").rename(tmp_path / "machine.kmod.classic")
    result = classic("lsmod")
    assert result.exit_code == 1
    assert result.stderr.endswith("machine.kmod.classic holds a modern machine, not a classic one\n")
    classic("boot")
    (tmp_path / "machine.kmod.classic").rename(tmp_path / "machine.kmod")
    result = cli("cat", "/proc/version")
    assert result.exit_code == 1
    assert result.stderr.endswith("holds a classic machine: its name has to end in .classic\n")


def test_fat_and_msdos(classic):
    result = classic("insmod", SAMPLES / "msdos.o")
    assert (result.exit_code, result.stderr.splitlines()[0]) == (
        1,
        f"{SAMPLES}/msdos.o: unresolved symbol fat_add_cluster",
    )
    classic("insmod", SAMPLES / "fat.o")
    classic("insmod", SAMPLES / "msdos.o")
    assert "fat_add_cluster\t[fat]\n" in classic("cat", "/proc/ksyms").stdout
    assert rows(classic("lsmod")) == ["msdos   0 (unused)", "fat   0 [msdos]"]
    assert classic("rmmod", "fat").stderr == "fat: Device or resource busy\n"
    assert classic("rmmod", "nobody", "msdos", "fat").stderr == "rmmod: module nobody is not loaded\n"
    assert rows(classic("lsmod")) == []


def test_ksyms(classic):
    classic("insmod", SAMPLES / "fat.o")
    lines = classic("ksyms").stdout.splitlines()
    assert lines[0] == "Address           Symbol                            Defined by"
    assert f"{0xFFFFFFFFA00000C0:016x}  {'fat_add_cluster':32}  [fat]" in lines
    assert "ffffffffa0000000  (0k)                              [fat]" in classic("ksyms", "-mH").stdout
    assert not any(line.split()[1] == "printk" for line in lines)
    assert any(line.split()[1] == "printk" for line in classic("ksyms", "-a").stdout.splitlines())


def test_rmmod_of_stacks(classic):
    for name in ("fat", "msdos"):
        classic("insmod", SAMPLES / f"{name}.o")
    assert classic("rmmod", "-r", "fat").stderr == "rmmod: fat is in use\n"
    assert classic("rmmod", "-r", "msdos").exit_code == 0
    assert rows(classic("lsmod")) == []


def test_rmmod_all(classic):
    for name in ("fat", "msdos"):
        classic("insmod", "-k", SAMPLES / f"{name}.o")
    assert rows(classic("lsmod")) == ["msdos   0 (autoclean) (unused)", "fat   0 (autoclean) [msdos]"]
    assert classic("rmmod", "-a").exit_code == 0
    assert rows(classic("lsmod")) == ["msdos   0 (autoclean) (unused)", "fat   0 (autoclean) [msdos]"]
    classic("rmmod", "msdos")
    classic("rmmod", "-a")
    assert rows(classic("lsmod")) == [], "fat was used, and is no more"


def test_wrong_usage(classic):
    for tool in ("insmod", "rmmod"):
        result = classic(tool)
        assert (result.exit_code, result.stderr.split()[:2]) == (1, ["Usage:", tool])
    assert classic("insmod", "--nope").stderr == "insmod: unrecognized option '--nope'\n"
    assert classic("insmod", "-V").stdout == "insmod version 2.4.16\n"


def test_uid(classic):
    result = classic("insmod", "--uid", "1000", SAMPLES / "hello.o")
    assert result.stderr == f"{SAMPLES}/hello.o: create_module: Operation not permitted\n"
    classic("insmod", SAMPLES / "hello.o")
    assert classic("rmmod", "--uid=1000", "hello").stderr == "hello: Operation not permitted\n"


def test_an_init_that_fails(classic):
    result = classic("insmod", SAMPLES / "ret_enodev.o")
    assert (result.exit_code, result.stderr) == (1, f"{SAMPLES}/ret_enodev.o: init_module: No such device\n")
    assert result.stdout.startswith("Hint: insmod errors can be caused by incorrect module parameters, ")
    assert rows(classic("lsmod")) == []


def test_a_device(classic):
    classic("insmod", SAMPLES / "chardev.o")
    assert "254 chardev\n" in classic("cat", "/proc/devices").stdout
    classic("mknod", "/dev/c", "c", "254", "3")
    classic("echo", "one line", "/dev/c")
    assert classic("cat", "/dev/c").stdout == "one line\n"
    assert rows(classic("lsmod")) == ["chardev   0"], "used, and not in use"
    assert classic("dmesg").stdout.splitlines()[1] == "chardev: minor 3 opened"


def test_a_device_in_use():
    kernel = ClassicKernel()
    kernel.insmod(SAMPLES / "chardev.o")
    with kernel.process() as process:
        process.mknod("/dev/c", 0o020666, 254 << 8)
        fd = process.open("/dev/c", 2)
        assert kernel.modules[0].usecount == 1
        with pytest.raises(KernelError) as busy:
            kernel.rmmod("chardev")
        assert busy.value.errno == errno.EBUSY
        assert process.write(fd, b"hello") == 5
        assert process.read(fd, 3) == b"hel"
        assert process.pread(fd, 9, 1) == b"ello"
        assert process.read(fd, 9) == b"lo"
        assert process.ioctl(fd, 0x6301, 0) == 0
        assert process.pread(fd, 9, 0) == b""
        with pytest.raises(KernelError) as refused:
            process.ioctl(fd, 0x6302, 0)
        assert refused.value.errno == errno.ENOTTY
    assert kernel.modules[0].usecount == 0
    before = kernel.held()["heap objects"]
    kernel.rmmod("chardev")
    assert kernel.held()["heap objects"] == before - 1, "its buffer; nothing of the open file is left"


def test_a_device_without_a_driver():
    kernel = ClassicKernel()
    with kernel.process() as process:
        process.mknod("/dev/c", 0o020666, 200 << 8)
        with pytest.raises(KernelError) as refused:
            process.open("/dev/c", 2)
    assert refused.value.errno == errno.ENODEV


def test_the_table_of_devices():
    """fs/devices.c: any free row from 254 down, the same driver twice, another's row, no such row."""
    kernel = ClassicKernel()
    own, other = 0x1000, 0x2000

    def register(major, fops, name=b"x\0"):
        place = kernel.heap.kmalloc(8)
        kernel.memory.write(place, name)
        function = next(a for a, n in kernel_symbols(kernel) if n == "register_chrdev")
        result = kernel.call(function, major, place, fops)
        return result - (1 << 64) if result >> 63 else result

    assert [register(0, own), register(0, own), register(40, own), register(40, own)] == [254, 253, 0, 0]
    assert register(40, other) == register(1, own) == -errno.EBUSY
    assert register(255, own) == register(1 << 31, own) == -errno.EINVAL


def kernel_symbols(kernel):
    for line in kernel.cat("/proc/ksyms").decode().splitlines():
        address, name = line.split()[:2]
        yield int(address, 16), name


def test_the_owner_of_operations_is_pinned_while_a_device_is_open():
    """file_operations.owner, which SET_MODULE_OWNER() sets, counts users in the module's place."""
    kernel = ClassicKernel()
    kernel.insmod(SAMPLES / "hello.o")
    (module,) = kernel.modules
    fops = kernel.heap.kmalloc(136)
    kernel.memory.write_u64(fops, module.address)
    kernel[ClassicCharDevices].register(77, "owned", fops)
    with kernel.process() as process:
        process.mknod("/dev/o", 0o020666, 77 << 8)
        fd = process.open("/dev/o", 2)
        assert (module.usecount, module.flags) == (1, 1 | 8 | 16)
        with pytest.raises(KernelError):
            process.read(fd, 1)  # it has no read
        process.close(fd)
        assert module.usecount == 0
        module.flags |= 2
        with pytest.raises(KernelError) as going:
            process.open("/dev/o", 2)
    assert going.value.errno == errno.ENODEV


def test_a_program_on_a_fresh_machine(cli):
    if not os.path.exists("/bin/busybox"):
        pytest.skip("no busybox")
    script = "cat /proc/modules; ls /sys; uname -r"
    result = cli("--classic", "exec", "--insmod", "chardev", "--", "sh", "-c", script)
    assert result.exit_code == 0
    assert cli("--classic", "exec", "--insmod", "nobody", "--", "sh", "-c", "").stderr == (
        "insmod: nobody: no module by that name found\n"
    )
