"""Types without DWARF: BTF of a distribution's modules, prototypes and structures of the profile."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from kmod_emu.debug.btf_types import BtfTypes, btf_of

RELEASE = "6.1.0-56-amd64"
MODULE = Path(f"/lib/modules/{RELEASE}/kernel/drivers/misc/c2port/core.ko")


@pytest.mark.skipif(
    not MODULE.exists() or not Path(f"/boot/vmlinuz-{RELEASE}").exists(), reason="Debian's kernel is missing"
)
def test_a_distributions_module_has_types_and_prototypes(talk):
    t = talk(MODULE)
    assert t("p c2port_device_register") == (
        "$1 = {struct c2port_device * (char *, struct c2port_ops *, void *)} 0xffffffffc0001080 "
        "<c2port_device_register>"
    )
    assert t("ptype struct c2port_ops").split("\n")[1:4] == [
        "    unsigned short block_size;",
        "    unsigned short blocks_num;",
        "    void (*access)(struct c2port_device *, int);",
    ]
    assert t("ptype size_t", "p sizeof(struct file)") == "type = unsigned long\n$2 = 232"
    assert t("p ((struct module *)&__this_module)->name") == "$3 = \"core\", '\\000' <repeats 51 times>"
    assert t(
        "p ((struct module *)&__this_module)->list.next->prev == &((struct module *)&__this_module)->list"
    )
    assert t("p (struct nosuch *)0") == "No struct type named nosuch."


def test_functions_of_the_base_kernel_have_their_prototypes(talk):
    t = talk("hello")
    assert t("p misc_register").startswith("$1 = {int (struct miscdevice *)} 0xffffffff80")
    assert t("whatis _printk", "ptype kfree") == "type = int (const char *, ...)\ntype = void (const void *)"


def test_what_is_no_btf_has_no_types():
    assert (btf_of(b""), btf_of(b"\x7fELF" + bytes(100))) == (b"", b"")
    kernel = SimpleNamespace(types=None, profile=SimpleNamespace(release="0.0.0-none"))
    types = BtfTypes(kernel, [b"\x9f\xeb" + bytes(50)])
    assert (types.named("struct file"), types.prototype("kfree")) == (None, None)
