"""The shipped profiles against tables that other programs read out of the same four kernels."""

import hashlib
import json
from pathlib import Path

import pytest

from kmod_emu.abi import profile

FACTS = json.loads((Path(__file__).parents[1] / "recordings" / "profiles.json").read_text())

# Where the tables err: members of inner structures that do have a name, and widths of bit-fields of an enum.
NOT_COMPARED = {
    "_ddebug": {"dd_key_true", "dd_key_false"},
    "dentry": {"d_in_lookup_hash", "d_rcu", "d_alias"},
    "device": {"lock", "name"},
    "device_driver": {"post_unbind_rust"},
    "file": {"fu_rcuhead", "fu_llist"},
    "mm_struct": {"list", "bitmap", "memcg", "__attribute__"},
    "net_device": {"upper", "lower", "reg_state", "rtnl_link_state"},
}


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@pytest.mark.parametrize("series", FACTS)
def test_exports_are_those_of_the_kernel(series):
    rows = sorted(
        f"{e.name} {e.value:#x} {'gpl' if e.gpl else ''} {e.namespace} {'' if e.crc is None else e.crc}"
        for e in profile.load(series).exports.values()
    )
    assert [len(rows), digest("\n".join(rows))] == FACTS[series]["exports"]


@pytest.mark.parametrize("series", FACTS)
def test_layouts_are_those_of_the_kernel(series):
    different = []
    for name, expected in FACTS[series]["structs"].items():
        layout = profile.load(series).struct(name)
        members = ";".join(
            f"{member}:{place.offset}:{place.size}:{'' if place.bit is None else place.bit}"
            for member, place in sorted(layout.members.items())
            if member not in NOT_COMPARED.get(name, ())
        )
        if digest(f"{layout.size};{members}") != expected:
            different.append(name)
    assert different == []
