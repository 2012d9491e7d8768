"""Build the kernel profiles in kmod_emu/data/profiles from tables extracted from real kernels.

    python scripts/build_profiles.py DIRECTORY [--output DIRECTORY]

DIRECTORY holds `offsets.json` (series -> struct -> size and members, each `[offset, size]` or, for a
bit-field, `[offset, size of its storage unit, "bitN"]`) and one `ksymtab-<series>.tsv` a series (name, link
address, `gpl` or nothing, namespace, CRC or nothing). The files written are read by kmod_emu/abi/profile.py,
whose docstring gives their form. The same input gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
import zlib
from pathlib import Path
from typing import Any, NamedTuple

OUTPUT = Path(__file__).resolve().parent.parent / "kmod_emu" / "data" / "profiles"

_DEBIAN = {"HZ": 250, "MODULE_SIG": True, "MODULE_SIG_FORCE": False, "PARAVIRT_XXL": True}
_XZ = {"MODULE_DECOMPRESS": True, "MODULE_COMPRESS_XZ": True}

# What the tables do not say: the release's name, its `uname -v` (as far as known), its static per-CPU size.
RELEASES: dict[str, dict[str, Any]] = {
    "5.10": {
        "release": "5.10.0-32-amd64",
        "version": "Debian 5.10.223",
        "vermagic": "5.10.0-32-amd64 SMP mod_unload modversions ",
        "static_percpu_size": 0x36000,
        "config": _DEBIAN | {"X86_KERNEL_IBT": False, "MODULE_DECOMPRESS": False},
    },
    "6.1": {
        "release": "6.1.0-56-amd64",
        "version": "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-11-16)",
        "vermagic": "6.1.0-56-amd64 SMP preempt mod_unload modversions ",
        "static_percpu_size": 0x35000,
        "config": _DEBIAN | {"X86_KERNEL_IBT": False, "MODULE_DECOMPRESS": False},
    },
    "6.12": {
        "release": "6.12.107+deb13-amd64",
        "version": "Debian 6.12.107",
        "vermagic": "6.12.107+deb13-amd64 SMP preempt mod_unload modversions ",
        "static_percpu_size": 0x39000,
        "config": _DEBIAN | _XZ | {"X86_KERNEL_IBT": True},
    },
    "7.2": {
        "release": "7.2.13+deb14-amd64",
        "version": "Debian 7.2.13",
        "vermagic": "7.2.13+deb14-amd64 SMP preempt mod_unload ",
        "static_percpu_start": 0xFFFF_FFFF_83E0_C000,  # no longer zero-based
        "static_percpu_size": 0x36000,
        "config": _DEBIAN | _XZ | {"X86_KERNEL_IBT": True},
    },
}


class Row(NamedTuple):
    """One line of a ksymtab table."""

    name: str
    value: int
    gpl: bool
    namespace: str
    crc: int | None


def read_ksymtab(path: Path) -> list[Row]:
    """Read an export table, sorted by name as the kernel's own bisection needs it."""
    rows = []
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith("#"):
            continue
        name, value, gpl, namespace, crc = line.split("\t")
        rows.append(Row(name, int(value, 16), gpl == "gpl", namespace, int(crc, 16) if crc else None))
    return sorted(rows)


def value_column(rows: list[Row]) -> str:
    """Link addresses as 8 hex digits each: all lie in the lowest or the topmost 2 GiB (sign-extended)."""
    for row in rows:
        if not (row.value < 1 << 31 or row.value >= (1 << 64) - (1 << 31)):
            raise ValueError(f"{row.name}: {row.value:#x} does not fit in 32 sign-extended bits")
    return "".join((row.value & 0xFFFFFFFF).to_bytes(4, "little").hex() for row in rows)


def crc_column(rows: list[Row]) -> str:
    """CRCs as 8 hex digits each; an empty column when the kernel has none."""
    if all(row.crc is None for row in rows):
        return ""
    missing = [row.name for row in rows if row.crc is None]
    if missing:
        raise ValueError(f"some exports have a CRC and some have none: {missing[:5]}")
    return "".join((row.crc or 0).to_bytes(4, "little").hex() for row in rows)


def namespace_column(rows: list[Row]) -> str:
    """JSON: namespace -> positions of its exports."""
    namespaces: dict[str, list[int]] = {}
    for position, row in enumerate(rows):
        if row.namespace:
            namespaces.setdefault(row.namespace, []).append(position)
    return json.dumps(namespaces, sort_keys=True, separators=(",", ":"))


def build(series: str, structs: dict[str, Any], rows: list[Row]) -> bytes:
    """The contents of one profile file."""
    names = {row.name for row in rows}
    facts = RELEASES[series] | {"series": series}
    facts["config"] = facts["config"] | {
        "MODVERSIONS": any(row.crc is not None for row in rows),
        "PREEMPT_DYNAMIC": "__SCT__preempt_schedule" in names,
    }
    columns = {
        "facts": json.dumps(facts, sort_keys=True),
        "structs": json.dumps(structs, separators=(",", ":")),
        "names": " ".join(row.name for row in rows),
        "values": value_column(rows),
        "crcs": crc_column(rows),
        "gpl": "".join("1" if row.gpl else "0" for row in rows),
        "namespaces": namespace_column(rows),
    }
    text = "".join(f"{name}\t{column}\n" for name, column in columns.items())
    return zlib.compress(text.encode("ascii"), 9)


def main(arguments: list[str]) -> int:
    """Build every profile whose tables are in the directory."""
    parser = argparse.ArgumentParser(description="Build the kernel profiles from extracted tables.")
    parser.add_argument("directory", type=Path, help="holds offsets.json and ksymtab-*.tsv")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    options = parser.parse_args(arguments)
    layouts = json.loads((options.directory / "offsets.json").read_text(encoding="ascii"))
    options.output.mkdir(parents=True, exist_ok=True)
    for series in RELEASES:
        rows = read_ksymtab(options.directory / f"ksymtab-{series}.tsv")
        path = options.output / f"{RELEASES[series]['release']}.tsv.z"
        path.write_bytes(build(series, layouts[series], rows))
        sys.stdout.write(f"{path.name}: {len(rows)} exports, {path.stat().st_size} bytes\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
