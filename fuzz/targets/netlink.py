"""Messages to the kernel's end of netlink sockets: generic netlink's controller and a family of a module."""

import struct

from kmod_emu import Kernel, KernelError, samples

EXPECTED = (KernelError,)
_DONTWAIT = 0x40


def seeds():
    attribute = struct.pack("<HH8s", 12, 2, b"nlctrl\0\0")
    message = struct.pack("<IHHIIBBH", 32, 16, 5, 1, 0, 3, 1, 0) + attribute
    dump = struct.pack("<IHHIIBBH", 20, 16, 0x305, 2, 0, 3, 1, 0)
    own = struct.pack("<IHHIIBBH", 32, 20, 5, 1, 0, 1, 1, 0) + struct.pack("<HH8s", 12, 1, b"hello")
    return [message, dump, message + dump, own]


def start():
    kernel = Kernel()
    kernel.insmod(samples.path("genetlink"))
    clean = kernel.snapshot()

    def run(data):
        kernel.restore(clean)
        with kernel.process(comm="fuzz") as process:
            fd = process.socket(16, 3, 16)
            process.sendto(fd, data, (0, 0))
            for _ in range(4):
                process.recv(fd, 8192, _DONTWAIT)

    return run
