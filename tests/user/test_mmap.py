"""Mapped files and devices."""

import os

import pytest

from kmod_emu.errors import KernelError
from kmod_emu.fs.char_dev import CharDevices
from kmod_emu.fs.file import FileOperations
from kmod_emu.fs.vfs import Vfs
from kmod_emu.kernel.remap import remap_pfn_range
from kmod_emu.machine.memory import PageFault
from kmod_emu.uapi import errno
from kmod_emu.uapi.stat import S_IFCHR, mkdev
from tests.user.conftest import needs_gcc

DEVICE = r"""
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>
int main(void) {
  int fd = open("/dev/mapped", O_RDWR);
  char *map = mmap(0, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  printf("%s", map); strcpy(map + 4096, "from the program");
  if (!fork()) { map[4096] = 'F'; _exit(0); }
  wait(0); printf(" %s", map + 4096);
  printf(" %d\n", munmap(map, 8192)); fflush(stdout);
  return map[0];
}
"""


class Mapped(FileOperations):
    """A device that shows two pages."""

    def __init__(self, kernel):
        super().__init__(kernel)
        self.pages, self.released = kernel.pages.allocate(1), 0
        kernel.memory.write(self.pages, b"from the device")

    async def mmap(self, file, vma):
        view = self.kernel.view("vm_area_struct", vma)
        size, pfn = view.vm_end - view.vm_start, self.pages - self.kernel.direct_address(0) >> 12
        if view.vm_pgoff or size > 8192:
            return -errno.EINVAL
        return remap_pfn_range(self.kernel, vma, view.vm_start, pfn, size, 0)

    async def release(self, file):
        self.released += 1


@pytest.fixture
def device(shell):
    device, kernel = Mapped(shell.kernel), shell.kernel
    kernel[CharDevices].add(device, mkdev(60, 0), 1)
    kernel[Vfs].make("dev/mapped", S_IFCHR | 0o666, mkdev(60, 0))
    return device


@needs_gcc
def test_a_program_and_a_device_share_pages(shell, device, compile_c):
    shell.put("/p", compile_c(DEVICE, "-static"))
    used = shell.kernel.pages.allocated
    result = shell.run("/p")
    assert result.stdout == b"from the device From the program 0\n"
    assert result.status == 128 + 11  # touched after munmap
    assert shell.kernel.memory.read_cstring(device.pages + 4096) == b"From the program"
    assert device.released == 1
    shell.kernel.sched.advance(1)
    shell.kernel.user_pages.drop_images()
    assert shell.kernel.pages.allocated <= used  # the device's own pages are not freed with the program


def test_mapping_through_python(shell, device):
    with shell.kernel.process() as process:
        fd = process.open("/dev/mapped", os.O_RDWR)
        address = process.syscall("mmap", 0, 4096, 3, 1, fd, 0)
        process.close(fd)
        assert process.get(address, 15) == b"from the device"
        assert device.released == 0
        assert process.syscall("munmap", address, 4096) == 0
        assert device.released == 1
        with pytest.raises(PageFault):
            process.get(address, 1)
        read_only = process.open("/dev/mapped", os.O_RDONLY)
        for arguments, number in [
            ((0, 12288, 1, 1, read_only, 0), errno.EINVAL),
            ((0, 4096, 1, 1, read_only, 4096), errno.EINVAL),
            ((0, 4096, 3, 1, read_only, 0), errno.EACCES),
            ((0, 4096, 1, 1, read_only, 7), errno.EINVAL),
            ((0, 0, 1, 1, read_only, 0), errno.EINVAL),
            ((0, 4096, 1, 1, 99, 0), errno.EBADF),
            ((0, 4096, 1, 0, read_only, 0), errno.EINVAL),
        ]:
            assert process.syscall("mmap", *arguments) == -number
        null = process.open("/dev/null", os.O_RDWR)
        assert process.syscall("mmap", 0, 4096, 1, 1, null, 0) == -errno.ENODEV


def test_a_mapping_ends_with_its_process(shell, device):
    process = shell.kernel.process()
    process.syscall("mmap", 0, 4096, 3, 1, process.open("/dev/mapped", os.O_RDWR), 0)
    process.exit()
    assert device.released == 1


def test_files_are_mapped_page_by_page(shell):
    shell.put("/data", b"x" * 5000)
    with shell.kernel.process() as process:
        fd = process.open("/data")
        address = process.syscall("mmap", 0, 5000, 1, 2, fd, 4096)
        assert process.get(address, 904) == b"x" * 904
        with pytest.raises(KernelError):
            process.enter("mmap", 0, 5000, 2, 1, fd, 0)
