"""Small module files made to measure, for trees of modules."""

import struct

ABS = 0xFFF1


def module(exports=(), needs=(), weak=(), info=(), *, crcs=True, versions=(), bits=64, order="<"):
    """A module file.

    Args:
        exports: Names, or (name, crc) pairs.
        needs: Undefined symbols.
        weak: Undefined symbols that may stay so.
        info: "key=value" strings of .modinfo.
        crcs: Whether exports have `__crc_` symbols; else only __ksymtab_strings names them.
        versions: (name, crc) pairs of __versions.
        bits: 64 or 32.
        order: "<" or ">", the byte order.
    """
    exports = [(item, 0) if isinstance(item, str) else item for item in exports]
    names, symbols = b"\0", [(0, 0, 0, 0)]
    for name, value, bind, section in (
        *((f"__crc_{name}", crc, 0, ABS) for name, crc in exports if crcs),
        *((name, 0, 1, 0) for name in needs),
        *((name, 0, 2, 0) for name in weak),
    ):
        symbols.append((len(names), value, bind << 4, section))
        names += name.encode() + b"\0"
    wide = bits == 64
    if wide:
        table = b"".join(struct.pack(f"{order}IBBHQQ", n, i, 0, s, v, 0) for n, v, i, s in symbols)
    else:
        table = b"".join(struct.pack(f"{order}IIIBBH", n, v, 0, i, 0, s) for n, v, i, s in symbols)
    version = f"{order}{'Q56s' if wide else 'I60s'}"
    sections = {
        b".modinfo": b"".join(text.encode() + b"\0" for text in info),
        b".symtab": table,
        b".strtab": names,
        b"__versions": b"".join(struct.pack(version, crc, name.encode()) for name, crc in versions),
        b"__ksymtab_strings": b"".join(name.encode() + b"\0" for name, _ in exports),
        b".shstrtab": b"",
    }
    return _file(
        {name: data for name, data in sections.items() if data or name != b"__versions"}, wide, order
    )


def _file(sections, wide, order):
    headers, contents, start = b"", b"", 64 if wide else 52
    entry, address = ("IIQQQQIIQQ", "Q") if wide else ("IIIIIIIIII", "I")
    names = b"\0" + b"\0".join(sections) + b"\0"
    for name, data in sections.items():
        data = names if name == b".shstrtab" else data
        at = names.index(b"\0" + name + b"\0") + 1
        headers += struct.pack(order + entry, at, 1, 0, 0, start + len(contents), len(data), 0, 0, 1, 0)
        contents += data + bytes(-len(data) % 8)
    size = struct.calcsize(order + entry)
    ident = b"\x7fELF" + bytes([2 if wide else 1, "<>".index(order) + 1, 1]) + bytes(9)
    places = (0, 0, start + len(contents), 0)
    rest = (start, 0, 0, size, len(sections) + 1, len(sections))
    ehdr = struct.pack(f"{order}HHI{address}{address}{address}I6H", 1, 62, 1, *places, *rest)
    return ident + ehdr + contents + bytes(size) + headers
