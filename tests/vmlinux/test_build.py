"""Profiles from whole kernels: small ones with every part or without, and the installed one."""

import re
from pathlib import Path

import pytest

from kmod_emu.abi import profile
from kmod_emu.abi.profile import Export, Profile
from kmod_emu.vmlinux.build import from_btf, from_image
from kmod_emu.vmlinux.donor import choose_donor
from kmod_emu.vmlinux.errors import BadImage
from kmod_emu.vmlinux.symvers import read_symvers
from tests.vmlinux import synthetic
from tests.vmlinux.synthetic import TEXT, bzimage, types, vmlinux

SYMVERS = read_symvers(
    "0x1\tkfree\tvmlinux\tEXPORT_SYMBOL\t\n"
    "0x2\tsort\tvmlinux\tEXPORT_SYMBOL\t\n"
    "0x3\tfile_open\tvmlinux\tEXPORT_SYMBOL_GPL\tCXL\n"
    "0x4\tthis_cpu_off\tvmlinux\tEXPORT_SYMBOL_GPL\t\n"
)


def built(*arguments, **parts):
    return Profile.from_bytes(from_image(bzimage(vmlinux(**parts)), *arguments))


@pytest.mark.parametrize("release", synthetic.LAYOUTS)
def test_a_kernel_says_everything(release):
    steps = []
    made = Profile.from_bytes(from_image(bzimage(vmlinux(release)), progress=steps.append))
    assert (made.release, made.series) == ("9.9.9-test", "9.9")
    assert made.version == "#1 SMP PREEMPT_DYNAMIC Test 9.9"
    assert made.banner == synthetic.BANNER
    assert made.vermagic == synthetic.VERMAGIC
    assert made.missing == ()
    assert dict(made.config) == {
        "HZ": 100,
        "MODULE_DECOMPRESS": False,
        "MODULE_SIG": True,
        "MODULE_SIG_FORCE": False,
        "MODVERSIONS": True,
        "PARAVIRT_XXL": False,
        "PREEMPT_DYNAMIC": False,
        "X86_KERNEL_IBT": False,
    }
    assert list(made.exports.values()) == [
        Export("file_open", 3, True, "CXL", TEXT + 0x30),
        Export("kfree", 1, False, "", TEXT + 0x10),
        Export("sort", 2, False, "", TEXT + 0x20),
        Export("this_cpu_off", 4, True, "", 0x18),
    ]
    assert made.static_percpu_size == 0x1000
    assert made.certificates == (synthetic.CERTIFICATE,)
    assert made.builtin_modules == {"printk": {"time": 0o644}, "kernel": {"panic": 0o600}}
    assert steps


def test_what_modules_exchange_with_the_kernel_is_kept():
    """`file` is in a prototype, `path` in it, `file_operations` behind it; `module` is always kept."""
    made = built()
    assert {"file", "path", "file_operations", "module"} <= set(made.structs)
    assert "unrelated" not in made.structs
    assert made.offset("file", "f_op") == 16
    assert made.prototype("file_open") == "int file_open(struct file *file)"
    assert made.prototype("kfree") == "void kfree(const void *object)"
    assert made.prototype("sort") is None
    assert made.prototype("no_such_function") is None


def test_without_kallsyms_it_says_what_is_missing():
    made = built(with_kallsyms=False)
    assert [lack.partition(":")[0] for lack in made.missing] == ["symbols (kallsyms)"]
    assert made.vermagic == synthetic.VERMAGIC
    assert made.certificates == ()
    assert len(made.exports) == 4
    assert made.static_percpu_size == 0x1000


def test_without_btf_it_takes_the_types_of_the_kernel_most_like_it():
    made = built(with_btf=False)
    assert [lack.partition(":")[0] for lack in made.missing] == ["types (BTF)"]
    assert made.layouts_of in made.missing[0]
    assert made.layouts_of in profile.available()
    assert made.struct("module")[:3] == profile.load(made.layouts_of).struct("module")[:3]
    assert made.prototype("kfree") == profile.load(made.layouts_of).prototype("kfree")
    assert made.exports["kfree"].crc == 1


def test_the_donor_has_the_most_equal_crcs():
    exports = [export._replace(value=0) for export in profile.load("6.12").exports.values()]
    donor, sentence = choose_donor(exports)
    assert donor is profile.load("6.12")
    assert f"{len(exports)} of {len(exports)} symbol versions are the same" in sentence
    without = [export._replace(crc=None) for export in profile.load("7.2").exports.values()]
    assert choose_donor(without)[0] is profile.load("7.2")


def test_a_kernel_without_modversions():
    assert not built(crcs=False).modversions


def test_module_symvers_stands_in_for_the_table_of_exports():
    with pytest.raises(BadImage, match=r"Module\.symvers"):
        built(with_exports=False)
    assert built(SYMVERS, with_exports=False).exports["file_open"] == Export("file_open", 3, True, "CXL", 0)


def test_module_symvers_of_another_kernel_is_refused():
    assert built(SYMVERS).exports["kfree"].value == TEXT + 0x10
    with pytest.raises(BadImage, match="another kernel than the image: 1 of 4 CRCs differ"):
        built([SYMVERS[0]._replace(crc=99), *SYMVERS[1:]])
    with pytest.raises(BadImage, match="1 symbols are not exported"):
        built([*SYMVERS, Export("extra", 5, False, "", 0)])


def test_btf_and_module_symvers_give_a_profile_too():
    made = Profile.from_bytes(from_btf(types(), SYMVERS, "9.9.9-test"))
    assert made.vermagic == "9.9.9-test SMP mod_unload modversions "
    assert made.exports["this_cpu_off"] == Export("this_cpu_off", 4, True, "", 0x18)
    assert made.offset("file", "f_op") == 16
    assert made.prototype("kfree") == "void kfree(const void *object)"
    assert made.missing
    exact = Profile.from_bytes(from_btf(types(), SYMVERS, "9.9.9-test", "9.9.9-test SMP mod_unload "))
    assert exact.vermagic == "9.9.9-test SMP mod_unload "


def installed():
    """The newest kernel image of this system that modules are there for, if any."""
    images = [path for path in Path("/boot").glob("vmlinuz-*-amd64") if path.stat().st_size]
    return max(images, key=lambda path: [int(n) for n in re.findall(r"\d+", path.name)], default=None)


@pytest.mark.skipif(installed() is None, reason="no kernel image here (Debian's package linux-image-amd64)")
def test_the_installed_kernel():
    path = installed()
    made = Profile.from_bytes(from_image(path.read_bytes()))
    assert made.release == path.name.removeprefix("vmlinuz-")
    assert made.vermagic.startswith(f"{made.release} SMP ")
    assert f" {made.version}" in made.banner
    assert made.missing == ()
    assert made.hz == 250
    assert len(made.exports) > 9000
    assert made.prototype("misc_register") == "int misc_register(struct miscdevice *misc)"
    assert "time" in made.builtin_modules["printk"]
    assert made.certificates
    if made.release in profile.available():
        shipped = profile.load(made.release)
        assert dict(made.exports) == dict(shipped.exports)
        assert dict(made.structs) == dict(shipped.structs)
        assert made.builtin_modules == shipped.builtin_modules
        assert made.certificates == shipped.certificates
        assert made.config == shipped.config
