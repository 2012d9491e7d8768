"""Images for init_module(2) of Linux 2.4, made by hand: what insmod makes, and what it never would."""

from __future__ import annotations

import struct

from kmod_emu.classic.modules import ModuleList
from kmod_emu.classic.structs import MODULE

RET0, RET_MINUS_1, RET_5 = b"\x31\xc0\xc3", b"\xb8\xff\xff\xff\xff\xc3", b"\xb8\x05\x00\x00\x00\xc3"
SIZE = 512
NAME_AT, CODE_AT, TABLE_AT = MODULE.size, 256, 320


class Loader:
    """A process that loads modules by hand."""

    def __init__(self, kernel, uid=0):
        self.kernel = kernel
        self.process = kernel.process(uid=uid)

    def create(self, name="m", size=SIZE):
        """create_module(2): the address, or a negative errno."""
        result = self.process.syscall("create_module", self.process.put(name.encode() + b"\0"), size)
        return result if -4096 < result < 0 else result & (1 << 64) - 1

    def image(self, address, called="m", code=RET0, table=b"", **members):
        """The bytes of an image; members of struct module may be given any value."""
        image = bytearray(SIZE)
        raw = called.encode() + b"\0"
        image[NAME_AT : NAME_AT + len(raw)] = raw
        image[CODE_AT : CODE_AT + len(code)] = code
        image[TABLE_AT : TABLE_AT + len(table)] = table
        values = {"size_of_struct": MODULE.size, "name": address + NAME_AT, "size": SIZE}
        for member, value in {**values, "init": address + CODE_AT, **members}.items():
            place = MODULE.members[member]
            image[place.offset : place.offset + place.size] = struct.pack("<Q", value & (1 << 64) - 1)[
                : place.size
            ]
        return bytes(image)

    def init(self, image, name="m"):
        """init_module(2): 0 or a negative errno."""
        text = self.process.put(name.encode() + b"\0")
        return self.process.syscall("init_module", text, self.process.put(image))

    def load(self, name="m", **changes):
        """Both."""
        address = self.create(name)
        return self.init(self.image(address, name, **changes), name)

    def delete(self, name=None):
        """delete_module(2)."""
        return self.process.syscall("delete_module", self.process.put(name.encode() + b"\0") if name else 0)

    def query(self, name, which, size=4096):
        """query_module(2): result, the answer's bytes, and *ret."""
        process = self.process
        ret, buf = process.put(bytes(8)), process.put(bytes(max(size, 1)))
        text = process.put(name.encode() + b"\0") if name is not None else 0
        result = process.syscall("query_module", text, which, buf, size, ret)
        return result, process.get(buf, size), struct.unpack("<q", process.get(ret, 8))[0]

    def flags(self, name="m"):
        """The flags of a module."""
        module = self.kernel[ModuleList].find(name)
        return module.flags if module is not None else None
