"""Kernel images that tests make themselves: ELF files with a kernel's tables, as any release has them."""

import bz2
import gzip
import lzma
import struct

import lz4.block
import zstandard

RODATA = 0xFFFFFFFF82000000
_SECTION = struct.Struct("<IIQQQQIIQQ")
_ALLOC, _CODE = 2, 4


# ---------------------------------------------------------------------- bzImage


def _lz4(data):
    chunks = (data[at : at + (8 << 20)] for at in range(0, len(data), 8 << 20))
    packed = (lz4.block.compress(chunk, store_size=False) for chunk in chunks)
    return b"\x02\x21\x4c\x18" + b"".join(struct.pack("<I", len(chunk)) + chunk for chunk in packed)


COMPRESS = {
    "gzip": gzip.compress,
    "xz": lambda data: lzma.compress(data, check=lzma.CHECK_CRC32),
    "bzip2": bz2.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "lz4": _lz4,
    "zstd": zstandard.ZstdCompressor().compress,
}


def bzimage(elf, compression="gzip", banner="9.9.9-test (me@here) #1 SMP PREEMPT_DYNAMIC Test 9.9"):
    """A boot sector, the setup code, and the compressed kernel with its size behind it."""
    payload = COMPRESS[compression](elf)
    if compression != "gzip":
        payload += struct.pack("<I", len(elf))
    setup_sectors, offset = 3, 0x80
    image = bytearray((setup_sectors + 1) * 512 + offset)
    image[0x1F1] = setup_sectors
    image[0x202:0x206] = b"HdrS"
    text = 0x400
    struct.pack_into("<H", image, 0x206, 0x20F)
    struct.pack_into("<H", image, 0x20E, text - 0x200)
    struct.pack_into("<II", image, 0x248, offset, len(payload))
    image[text : text + len(banner) + 1] = banner.encode() + b"\0"
    return bytes(image) + payload + bytes(512)


# ---------------------------------------------------------------------- ELF


def elf(sections, machine=62):
    """An ELF file of sections (name, address, contents); one of code is named .text."""
    names = b"\0"
    body, headers = bytearray(64), [_SECTION.pack(*[0] * 10)]
    for name, address, contents in [*sections, (".shstrtab", 0, None)]:
        at = len(names)
        names += name.encode() + b"\0"
        contents = names if contents is None else contents
        body += bytes(-len(body) % 16)
        kind, flags = (3, 0) if name == ".shstrtab" else (1, _ALLOC | (_CODE if name == ".text" else 0))
        headers.append(_SECTION.pack(at, kind, flags, address, len(body), len(contents), 0, 0, 16, 0))
        body += contents
    body += bytes(-len(body) % 16)
    ident = b"\x7fELF\2\1\1" + bytes(9)
    body[:64] = struct.pack(
        "<16sHHIQQQIHHHHHH",
        ident,
        2,
        machine,
        1,
        0,
        0,
        len(body),
        0,
        64,
        0,
        0,
        64,
        len(headers),
        len(headers) - 1,
    )
    return bytes(body) + b"".join(headers)


# ---------------------------------------------------------------------- kallsyms

LAYOUTS = {
    "5.10": ("before", 8, True, False),
    "6.1": ("before", 8, True, True),
    "6.4": ("after", 8, True, True),
    "6.15": ("after", 8, False, True),
    "7.2": ("relative", 4, False, False),
}


def kallsyms(symbols, release, address=RODATA, front=b""):
    """The table for symbols [(address, type, name)] in one release's arrangement, behind `front`."""
    where, align, percpu_absolute, order = LAYOUTS[release]
    symbols = sorted(symbols)
    base = min(value for value, _, _ in symbols if value >> 32)
    tokens = [bytes([code]) if 0x21 <= code < 0x7F else b"" for code in range(256)]
    tokens[0x80] = b"sys_"
    names, markers = b"", []
    for number, (_, kind, name) in enumerate(symbols):
        if number % 256 == 0:
            markers.append(len(names))
        text = (kind + name).encode().replace(b"sys_", b"\x80")
        length = len(text)
        names += bytes([length]) if length < 0x80 else bytes([length & 0x7F | 0x80, length >> 7])
        names += text
    table, index = b"", []
    for token in tokens:
        index.append(len(table))
        table += token + b"\0"

    def pad(data):
        return data + bytes(-len(data) % align)

    def offset(value):
        if percpu_absolute:
            return base - 1 - value if value >> 32 else value
        return value - base

    count = pad(struct.pack("<I", len(symbols)))
    middle = count + pad(names) + pad(struct.pack(f"<{len(markers)}I", *markers))
    if order and where == "before":
        middle += pad(b"\xff\1\2" * len(symbols))
    middle += pad(table) + pad(struct.pack("<256H", *index))
    front = pad(front)
    if where == "relative":
        start = address + len(front) + len(middle)
        offsets = [value - start - 4 * number for number, (value, _, _) in enumerate(symbols)]
        return front + middle + pad(struct.pack(f"<{len(offsets)}i", *offsets))
    offsets = pad(struct.pack(f"<{len(symbols)}i", *(offset(value) for value, _, _ in symbols)))
    offsets += struct.pack("<Q", base)
    if where == "before":
        return front + offsets + middle
    return front + middle + offsets + (pad(bytes(3 * len(symbols))) if order else b"")


# ---------------------------------------------------------------------- exports


def ksymtab(exports, address, strings_address, entry_size=12):
    """Sections of one table; exports are (name, value, namespace) and the strings come with it."""
    table, strings = b"", b"\0"

    def text(word):
        nonlocal strings
        at = strings_address + len(strings)
        strings += word.encode() + b"\0"
        return at

    for name, value, namespace in exports:
        at = address + len(table)
        entry = [_distance(at, value), text(name) - at - 4]
        if entry_size == 12:
            entry.append(text(namespace) - at - 8 if namespace else 0)
        table += struct.pack(f"<{len(entry)}i", *entry)
    return table, strings


def _distance(place, target):
    distance = (target - place) & 0xFFFFFFFF
    return distance - (1 << 32) if distance >> 31 else distance


# ---------------------------------------------------------------------- BTF

INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST = range(1, 11)
FUNC, FUNC_PROTO, VAR, DATASEC = 12, 13, 14, 15


class BtfWriter:
    """Collects types; each method gives the number of the type it adds."""

    def __init__(self, base=None):
        self._types = b""
        self._strings = b"" if base else b"\0"
        self._string_base = base.string_end if base else 0
        self._next = base.count if base else 1

    def _name(self, text):
        if not text:
            return 0
        at = self._string_base + len(self._strings)
        self._strings += text.encode() + b"\0"
        return at

    def add(self, kind, name="", size=0, vlen=0, flag=0, more=()):
        info = kind << 24 | vlen | flag << 31
        self._types += struct.pack(f"<III{len(more)}I", self._name(name), info, size, *more)
        self._next += 1
        return self._next - 1

    def integer(self, name, size, signed=False):
        return self.add(INT, name, size, more=[(1 if signed else 0) << 24 | 8 * size])

    def pointer(self, target):
        return self.add(PTR, size=target)

    def typedef(self, name, target):
        return self.add(TYPEDEF, name, target)

    def const(self, target):
        return self.add(CONST, size=target)

    def array(self, element, count):
        return self.add(ARRAY, more=[element, 0, count])

    def compound(self, name, size, members, kind=STRUCT):
        """Members are (name, type, bit offset) or (name, type, bit offset, bits)."""
        flag = any(len(member) == 4 for member in members)
        words = []
        for member, target, bit, *bits in members:
            words += [self._name(member), target, (bits[0] << 24 if bits else 0) | bit]
        return self.add(kind, name, size, len(members), flag, words)

    def prototype(self, result, parameters):
        words = [word for name, target in parameters for word in (self._name(name), target)]
        return self.add(FUNC_PROTO, size=result, vlen=len(parameters), more=words)

    def function(self, name, result, parameters):
        return self.add(FUNC, name, self.prototype(result, parameters))

    def percpu(self, variables):
        """Variables are (name, type, offset, size)."""
        words = []
        for name, target, offset, size in variables:
            words += [self.add(VAR, name, target, more=[1]), offset, size]
        return self.add(DATASEC, ".data..percpu", 0, len(variables), more=words)

    def bytes(self):
        header = struct.pack(
            "<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(self._types), len(self._types), len(self._strings)
        )
        return header + self._types + self._strings


# ---------------------------------------------------------------------- a whole kernel

TEXT, DATA, INIT = 0xFFFFFFFF81000000, 0xFFFFFFFF83000000, 0xFFFFFFFF84000000
RELEASE = "9.9.9-test"
VERMAGIC = f"{RELEASE} SMP preempt mod_unload modversions "
BANNER = f"Linux version {RELEASE} (me@here) (gcc 99) #1 SMP PREEMPT_DYNAMIC Test 9.9"
CERTIFICATE = b"\x30\x03\x02\x01\x07"
EXPORTS = [("kfree", TEXT + 0x10, ""), ("sort", TEXT + 0x20, "")]
GPL_EXPORTS = [("file_open", TEXT + 0x30, "CXL"), ("this_cpu_off", 0x18, "")]


def types():
    """BTF of a small kernel."""
    w = BtfWriter()
    int_, long_, short = (w.integer(name, size) for name, size in (("int", 4), ("long int", 8), ("u16", 2)))
    text, anything = w.pointer(w.integer("char", 1)), w.pointer(0)
    w.compound("module", 64, [("state", int_, 0), ("sig_ok", int_, 32), ("name", text, 64)])
    w.compound("kernel_param", 40, [("name", text, 0), ("perm", short, 192)])
    w.compound("clocksource", 16, [("mult", int_, 0), ("shift", int_, 32)])
    operations = w.compound("file_operations", 8, [("open", anything, 0)])
    path = w.compound("path", 16, [("mnt", anything, 0), ("dentry", anything, 64)])
    file = w.compound("file", 32, [("f_path", path, 0), ("f_op", w.pointer(w.const(operations)), 128)])
    w.compound("unrelated", 8, [("x", long_, 0)])
    w.function("kfree", 0, [("object", w.pointer(w.const(0)))])
    w.function("file_open", int_, [("file", w.pointer(file))])
    w.percpu([("this_cpu_off", long_, 0x18, 8)])
    return w.bytes()


def vmlinux(release="6.4", *, with_kallsyms=True, with_btf=True, with_exports=True, crcs=True, params=True):
    """A kernel with everything that a profile is made of, or with less."""
    texts = RODATA + 0x1000
    contents = bytearray(0x2000)
    place = {}
    for text in (VERMAGIC, BANNER + "\n", "printk.time", "panic", "hidden.x"):
        place[text] = texts + 0x100 * len(place)
        contents[place[text] - RODATA : place[text] - RODATA + len(text)] = text.encode()
    data = bytearray(0x100)
    struct.pack_into("<II", data, 0, 10_000_000 << 8, 8)  # a tick of 10 ms
    init = CERTIFICATE.ljust(16, b"\0") + struct.pack("<Q", len(CERTIFICATE))
    symbols = [
        (TEXT, "T", "_text"),
        *((TEXT + 0x1000 + 16 * number, "t", f"function_{number}") for number in range(300)),
        (place[VERMAGIC], "r", "vermagic"),
        (DATA, "d", "clocksource_jiffies"),
        (DATA + 0x20, "d", "sig_enforce"),
        (INIT, "d", "system_certificate_list"),
        (INIT + 16, "d", "system_certificate_list_size"),
    ]
    front = bytes(contents)
    sections = [
        (
            ".rodata",
            RODATA,
            (kallsyms(symbols, release, front=front) if with_kallsyms else front) + bytes(64),
        ),
        (".data", DATA, bytes(data)),
        (".init.data", INIT, init),
        (".data..percpu", 0, bytes(0x1000)),
    ]
    if with_exports:
        strings = RODATA + 0x900000
        plain, words = ksymtab(EXPORTS, RODATA + 0x500000, strings)
        gpl, more = ksymtab(GPL_EXPORTS, RODATA + 0x600000, strings + len(words))
        sections += [
            ("__ksymtab", RODATA + 0x500000, plain),
            ("__ksymtab_gpl", RODATA + 0x600000, gpl),
            ("__ksymtab_strings", strings, words + more),
        ]
        if crcs:
            sections += [
                ("__kcrctab", RODATA + 0x700000, struct.pack("<II", 1, 2)),
                ("__kcrctab_gpl", RODATA + 0x800000, struct.pack("<II", 3, 4)),
            ]
    if params:
        entries = ((place["printk.time"], 0o644), (place["panic"], 0o600), (place["hidden.x"], 0))
        table = b"".join(struct.pack("<QQQHHIQ", name, 0, 0, mode, 0, 0, 0) for name, mode in entries)
        sections.append(("__param", RODATA + 0xA00000, table))
    if with_btf:
        sections.append((".BTF", RODATA + 0xB00000, types()))
    return elf(sections)
