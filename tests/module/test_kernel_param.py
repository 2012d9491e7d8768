"""Parameters whose operations are not the common ones, and who may set them (kernel/params.c)."""

from io import BytesIO

import pytest
from elftools.elf.elffile import ELFFile

from kmod_emu import Kernel, KernelError, samples
from kmod_emu.module.kernel_param import parameters
from kmod_emu.uapi import errno

FILE = "/sys/module/params/parameters/count"
_FLAGS = 27  # its place in struct kernel_param
_HWPARAM = 2


@pytest.fixture
def kernel():
    kernel = Kernel()
    kernel.insmod(samples.path("params"))
    return kernel


@pytest.fixture
def parameter(kernel):
    [module] = kernel.modules
    return next(each for each in parameters(kernel, module) if each.name == "count")


def write(kernel: Kernel, text: bytes, path: str = FILE) -> int:
    with kernel.process(uid=0) as process:
        return process.write(process.open(path, 1), text)


def refused(function, *arguments: object) -> int:
    with pytest.raises(KernelError) as error:
        function(*arguments)
    return error.value.errno


def test_a_parameter_without_operations_is_neither_read_nor_set(kernel, parameter):
    kernel.memory.write(parameter.ops + 8, bytes(16))  # set and get
    assert refused(kernel.cat, FILE) == errno.EPERM
    assert refused(write, kernel, b"3\n") == errno.EPERM


def test_lockdown_keeps_parameters_that_steer_hardware(kernel, parameter):
    [module] = kernel.modules
    image = bytearray(samples.path("params").read_bytes())
    section = ELFFile(BytesIO(image)).get_section_by_name("__param")
    image[section["sh_offset"] + parameter.address - module.view.kp + _FLAGS] = _HWPARAM
    kernel.rmmod("params")
    kernel.insmod(bytes(image))
    assert write(kernel, b"3\n") == 2
    write(kernel, b"integrity", "/sys/kernel/security/lockdown")
    assert refused(write, kernel, b"4\n") == errno.EPERM
    assert kernel.cat(FILE) == b"3\n"


def test_whoever_has_the_lock_keeps_parameters_from_being_changed(kernel):
    [module] = kernel.modules
    for owner in (0, module.address):
        kernel.call(kernel.symbol("kernel_param_lock"), owner)
        kernel.call(kernel.symbol("kernel_param_unlock"), owner)
    kernel.call(kernel.symbol("kernel_param_lock"), module.address)
    with kernel.process(uid=0) as process:
        fd = process.open(FILE, 1)
        process.start("write", fd, process.put(b"5\n"), 2)
        kernel.advance(0.1)
        assert kernel.memory.read_u32(kernel.memory.read_u64(parameter_arg(kernel))) == 1
        kernel.call(kernel.symbol("kernel_param_unlock"), module.address)
        assert process.wait() == 2
    assert kernel.cat(FILE) == b"5\n"


def parameter_arg(kernel: Kernel) -> int:
    """Where the parameter's `arg` is."""
    [module] = kernel.modules
    return next(each for each in parameters(kernel, module) if each.name == "count").address + 32


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("count=3 -- rest of it", ["params: parameters 'rest of it' after `--' ignored"]),
        (
            "count=3 count-- other=1",
            ["params: unknown parameter 'count--' ignored", "params: unknown parameter 'other' ignored"],
        ),
    ],
)
def test_what_stands_behind_two_dashes(text, lines):
    kernel = Kernel()
    kernel.insmod(samples.path("params"), text)
    assert [line for line in kernel.dmesg() if "ignored" in line] == lines


def test_after_an_error_nothing_is_said_of_two_dashes():
    kernel = Kernel()
    assert refused(kernel.insmod, samples.path("params"), "count=many -- rest") == errno.EINVAL
    assert not any("ignored" in line for line in kernel.dmesg())


def test_signatures_once_demanded_stay_so():
    kernel, path = Kernel(), "/sys/module/module/parameters/sig_enforce"
    assert kernel.cat(path) == b"N\n"
    assert refused(write, kernel, b"maybe\n", path) == errno.EINVAL
    write(kernel, b"0\n", path)
    write(kernel, b"Y\n", path)
    assert kernel.cat(path) == b"Y\n"
    assert refused(write, kernel, b"N\n", path) == errno.EROFS
