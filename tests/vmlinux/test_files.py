"""System calls and file systems of a distribution's own kernel."""

import os

from kmod_emu import samples


def test_its_file_systems_are_mounted(real):
    assert real.cat("/proc/version").startswith(b"Linux version 6.1.0-")
    assert b"nodev\tdevtmpfs\n" in real.cat("/proc/filesystems")
    assert real.cat("/sys/kernel/uevent_seqnum").strip().isdigit()
    with real.process() as process:
        assert {"null", "zero", "kmsg", "console"} <= set(process.listdir("/dev"))


def test_statistics_of_memory_can_be_read(real):
    """Nothing looks at them every second, and 7.2 warned of the workqueue that this machine made itself."""
    assert real.cat("/proc/vmstat").startswith(b"nr_free_pages 32768\n")
    assert real.cat("/proc/zoneinfo").startswith(b"Node 0, zone ")


def test_a_process_is_one_of_the_kernels(real):
    with real.process(uid=1000, comm="someone") as process:
        status = process.read_file("/proc/self/status").decode()
    assert "Name:\tsomeone\n" in status
    assert "Uid:\t1000\t1000\t1000\t1000\n" in status


def test_a_module_shows_in_the_kernels_own_sysfs(real):
    real.insmod(samples.path("params"), "count=3")
    with real.process() as process:
        assert process.read_file("/sys/module/params/parameters/count") == b"3\n"
        assert process.read_file("/sys/module/params/initstate") == b"live\n"
    assert real.cat("/proc/sys/kernel/tainted") == b"12288\n"  # out of the tree, unsigned
    real.rmmod("params")
    with real.process() as process:
        assert "params" not in process.listdir("/sys/module")


def test_a_character_device_is_used_through_the_kernels_own_files(real):
    real.insmod(samples.path("echo"))
    with real.process() as process:
        major = next(
            int(line.split()[0]) for line in real.cat("/proc/devices").decode().splitlines() if "echo" in line
        )
        process.mknod("/dev/echo", 0o666 | 0o020000, os.makedev(major, 0))
        fd = process.open("/dev/echo", os.O_RDWR)
        assert process.write(fd, b"hi") == 2
        assert process.read(fd, 10) == b"hi"
        process.close(fd)
    real.rmmod("echo")
