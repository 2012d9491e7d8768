"""Packets from and to Python: a tun device of the kernel's, whose other end is here (drivers/net/tun.c)."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from kmod_emu.errors import KernelError
from kmod_emu.uapi import errno
from kmod_emu.uapi.fcntl import O_NONBLOCK, O_RDWR

if TYPE_CHECKING:
    from kmod_emu.vmlinux.kernel import VmlinuxKernel

_TUNSETIFF, _SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x4004_54CA, 0x8914, 0x8916, 0x891C
_IFF_UP, _IFF_TUN, _IFF_TAP, _IFF_NO_PI = 1, 1, 2, 0x1000
_IFNAMSIZ, _IFREQ_SIZE, _LARGEST = 16, 40, 1 << 16
_SETTLE = 0.01  # seconds of virtual time in which a packet finds its way


class Tun:
    """A network interface that is up. It goes with the process that has it open: `close`.

    Args:
        kernel: The machine; its module tun is loaded.
        name: Of the interface.
        address: Its IPv4 address.
        netmask: Of its network.
        ethernet: Frames are exchanged, not IP packets (tap).

    Raises:
        KernelError: ENOENT, the module is not loaded; EBUSY, there is such an interface.
    """

    def __init__(
        self,
        kernel: VmlinuxKernel,
        name: str = "tun0",
        address: str = "10.0.0.1",
        netmask: str = "255.255.255.0",
        *,
        ethernet: bool = False,
    ) -> None:
        self._kernel, self._name = kernel, name
        self._process = kernel.process(comm="tun")
        try:
            self._fd = self._process.open("/dev/net/tun", O_RDWR | O_NONBLOCK)
            kind = (_IFF_TAP if ethernet else _IFF_TUN) | _IFF_NO_PI
            self._ask(self._fd, _TUNSETIFF, struct.pack("<H", kind))
            sock = self._process.socket(socket.AF_INET, socket.SOCK_DGRAM)
            for cmd, text in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, netmask)):
                self._ask(sock, cmd, struct.pack("<HH4s", socket.AF_INET, 0, socket.inet_aton(text)))
            self._ask(sock, _SIOCSIFFLAGS, struct.pack("<H", _IFF_UP))
        except KernelError:
            self.close()
            raise

    def _ask(self, fd: int, cmd: int, value: bytes) -> None:
        request = self._name.encode().ljust(_IFNAMSIZ, b"\0") + value
        self._process.enter("ioctl", fd, cmd, self._process.put(request.ljust(_IFREQ_SIZE, b"\0")))

    def send(self, packet: bytes) -> None:
        """A packet arrives at the interface, and what follows from that happens.

        Raises:
            KernelError: EINVAL, it is too short or no IP packet.
        """
        self._process.write(self._fd, packet)
        self._kernel.advance(_SETTLE)

    def receive(self) -> bytes | None:
        """The next packet that the kernel sent out through the interface, None if there is none."""
        try:
            return self._process.read(self._fd, _LARGEST)
        except KernelError as error:
            if error.errno == errno.EAGAIN:
                return None
            raise

    def close(self) -> None:
        """Take the interface away."""
        self._process.exit()
