"""depmod beside Debian's own: the same tree, and each file the same to the byte."""

import lzma
import os
import shutil
from pathlib import Path

import pytest
import zstandard
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from kmod_emu import Kernel
from kmod_emu.kmod.index import Index
from tests.kmod.beside import ours, real, real_kmod
from tests.kmod.kofile import module

RELEASE = "6.1.0-test"
KERNELS = sorted(Path("/lib/modules").glob("6.1.0-*-amd64/kernel"))
pytestmark = real_kmod


class Tree:
    """A module tree that both tools are let loose on."""

    def __init__(self, path):
        self.base = path
        self.path = path / "lib/modules" / RELEASE
        self.path.mkdir(parents=True)
        self.input("modules.order", "")
        self.input("modules.builtin", "")
        self.input("modules.builtin.modinfo", "")

    def input(self, name, text):
        (self.path / name).write_bytes(text if isinstance(text, bytes) else text.encode())

    def add(self, where, contents=None, **parts):
        path = self.path / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(module(**parts) if contents is None else contents)

    def files(self):
        """What depmod wrote."""
        written = {path.name: path.read_bytes() for path in self.path.glob("modules.*")}
        for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
            written.pop(name, None)
        return written

    def clear(self):
        for name in self.files():
            (self.path / name).unlink()

    def compare(self, *args, operands=(RELEASE,)):
        """Run both; what they do and write must be the same. Ours is given back."""
        results = []
        for tool in (real, ours):
            self.clear()
            results.append((tool("depmod", "-b", str(self.base), *args, *operands), self.files()))
        assert results[1][0] == results[0][0]
        assert results[1][1].keys() == results[0][1].keys()
        for name, contents in results[0][1].items():
            assert results[1][1][name] == contents, name
        return results[1][0]


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path)


def test_dependencies_aliases_and_soft_dependencies(tree):
    tree.add("kernel/a.ko", exports=["a1", "a2"], info=["alias=pci:v0000*[0-9]-x", "alias=devname:a"])
    tree.add("kernel/b-b.ko", exports=["b"], needs=["a1"], info=["softdep=pre: a post: c"])
    tree.add(
        "kernel/c.ko", needs=["b", "a2", "printk"], info=["alias=char-major-10-229", "alias=devname:fuse"]
    )
    tree.add("extra/d.ko", needs=["a2"], info=["alias=char-major-10-*", "license=GPL", "alias=usb-[a-f]-"])
    tree.input("modules.order", "kernel/c.ko\nkernel/b-b.ko\nkernel/a.ko\n")
    tree.input("modules.builtin", "kernel/fs/ext4/ext4.ko\nkernel/in-side.ko\n")
    tree.input("modules.builtin.modinfo", b"ext4.license=GPL\0ext4.alias=fs-ext[0-4]\0ext4.file=fs/ext4\0")
    result = tree.compare()
    assert "Module 'a' has devname (a) but lacks major and minor" in result.err
    assert "kernel/c.ko: kernel/b-b.ko kernel/a.ko\n" in (tree.path / "modules.dep").read_text()


def test_the_same_on_the_standard_output(tree):
    tree.add("kernel/a.ko", exports=["a"], info=["alias=x"])
    tree.add("kernel/b.ko", needs=["a"])
    result = tree.compare("-n")
    assert "alias symbol:a a\n" in result.out
    assert not tree.files()
    assert tree.compare("--show") == tree.compare("--dry-run") == result


def test_verbose_tells_who_needs_what(tree):
    tree.add("kernel/a.ko", exports=["a"])
    tree.add("kernel/b.ko", needs=["a"])
    assert 'needs "a"' in tree.compare("-v").out


def test_missing_inputs_are_warnings(tree):
    tree.add("kernel/a.ko")
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        (tree.path / name).unlink()
    assert tree.compare().err.count("could not open") == 3


def test_inputs_that_make_no_sense(tree):
    tree.add("kernel/a.ko")
    tree.input("modules.order", "kernel/a.ko\nkernel/b.ko")
    tree.input("modules.builtin", "#no\nkernel/b.ko\n9")
    tree.input("modules.builtin.modinfo", b"x.alias=a]\0x.alias=\0y\0.alias=z\0x.alias=fine")
    tree.compare()


def test_a_missing_tree(tree):
    shutil.rmtree(tree.path)
    assert tree.compare().status == 1
    tree.compare("-A")


@pytest.mark.parametrize("order", [(), ("loop_a", "loop_b", "loop_c", "other")])
def test_cycles_are_told_and_nothing_is_written(tree, order):
    for name, needs in (("a", "b"), ("b", "c"), ("c", "a")):
        tree.add(f"kernel/loop_{name}.ko", exports=[f"f_{name}"], needs=[f"f_{needs}", "leaf"])
    tree.add("kernel/other.ko", needs=["f_a"])
    tree.add("kernel/leaf.ko", exports=["leaf"])
    tree.input("modules.order", "".join(f"kernel/{name}.ko\n" for name in order))
    result = tree.compare()
    assert result.status == 1
    assert "Cycle detected: loop_" in result.err
    assert "Found 3 modules in dependency cycles!" in result.err
    assert not tree.files()


def test_a_module_that_needs_itself(tree):
    tree.add("kernel/a.ko", exports=["a"], needs=["a"])
    assert tree.compare().status == 1


def test_a_way_from_one_cycle_into_another_ends(tree):
    """kmod 30 goes round the second one for ever and takes all memory."""
    for name, needs in (("a", ["f_b", "f_c"]), ("b", ["f_a"]), ("c", ["f_d"]), ("d", ["f_c"])):
        tree.add(f"kernel/{name}.ko", exports=[f"f_{name}"], needs=needs)
    result = ours("depmod", "-b", str(tree.base), RELEASE)
    assert result.status == 1
    assert "Found 4 modules in dependency cycles!" in result.err


@pytest.mark.parametrize(
    "contents",
    [b"", b"abc", b"no module at all", module()[:100], b"\x7fELF" + bytes(200), module()[:-8]],
    ids=["empty", "short", "text", "cut", "zeros", "cut-table"],
)
def test_files_that_are_no_modules(tree, contents):
    tree.add("kernel/bad.ko", contents)
    tree.add("kernel/good.ko", exports=["x"])
    assert "failed to load symbols from" in tree.compare().err


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("crcs", [False, True])
def test_other_machines(tree, bits, order, crcs):
    tree.add("kernel/a.ko", exports=["a"], crcs=crcs, bits=bits, order=order)
    tree.add("kernel/b.ko", needs=["a"], info=["alias=b"], bits=bits, order=order)
    tree.compare()


def test_versions_name_dependencies_too(tree):
    tree.add("kernel/a.ko", exports=["a", "z"])
    tree.add("kernel/b.ko", needs=["z"], versions=[("module_layout", 1), ("a", 2), ("z", 3)])
    tree.compare("-v")


def test_of_two_exporters_one_counts(tree):
    for name in ("one", "two", "three"):
        tree.add(f"kernel/{name}.ko", exports=["shared"])
    tree.add("kernel/user.ko", needs=["shared"])
    tree.compare("-w")


def test_duplicates_are_warned_about(tree):
    tree.add(
        "kernel/a.ko", exports=["x", "x"], info=["alias=twice", "alias=twice", "alias=twi-ce[", "alias=a]"]
    )
    assert "duplicate module alias:\ntwice a\n" in tree.compare("-w").err
    tree.compare("--warn", "-n")


# --- symbols of the kernel ------------------------------------------------------------------------------


@pytest.fixture
def exporting(tree, tmp_path):
    tree.add("kernel/a.ko", exports=[("a", 7)], weak=["maybe"], needs=["known"], versions=[("known", 0x11)])
    tree.add(
        "kernel/b.ko", needs=["a", "unknown", "__this_module", "known"], versions=[("a", 8), ("known", 0x12)]
    )
    tree.symvers, tree.map = tmp_path / "Module.symvers", tmp_path / "System.map"
    tree.symvers.write_text(
        "0x00000011\tknown\tvmlinux\tEXPORT_SYMBOL\t\n0x5\tother\tdrivers/x\tEXPORT_SYMBOL\n\nz\n"
    )
    tree.map.write_text("ffffffff81000000 T known\nffffffff82000000 r __ksymtab_known\nfoo\n")
    return tree


def test_unknown_symbols_and_versions(exporting):
    result = exporting.compare("-e", "-E", str(exporting.symvers))
    assert "needs unknown symbol unknown\n" in result.err
    assert "disagrees about version of symbol a\n" in result.err
    exporting.compare("-E", str(exporting.symvers))


def test_unknown_symbols_by_system_map(exporting):
    assert "invalid line: foo" in exporting.compare("--errsyms", "--filesyms", str(exporting.map)).err


def test_errsyms_wants_a_file(exporting):
    assert exporting.compare("-e").err == "depmod: WARNING: -e needs -E or -F\n"
    exporting.compare("-e", "-E", "/nonexistent")
    exporting.compare("-e", "-F", "/nonexistent")
    exporting.compare("-E", str(exporting.map), "-e")


def test_a_symbol_prefix(tree):
    tree.add("kernel/a.ko", exports=["_a", "b", ".c"])
    tree.add("kernel/b.ko", needs=["_a", "_b", "._b", ".c", "a"])
    tree.compare("-P", "_", "-v")
    assert tree.compare("-P", "__").status == 1


# --- which module of one name counts --------------------------------------------------------------------


CONFIGS = [
    "",
    "search updates built-in\n",
    "search built-in updates extra\n",
    "search extra kernel\nsearch updates\n",
    "# c\n\nsearch updates built-in extra\noverride mod * extra\n",
    "override mod ^6\\.1\\..*t$ kernel\noverride mod 5.* updates\n",
    "exclude updates extra\n",
    "search external built-in\nexternal * @/outside\n",
    "search built-in external\nexternal 6.* @/outside\nexternal * @/nowhere\nexternal 7.* @/no\n",
    "override mod\nexternal\nwhat is this\nsearch\\\n extra\nmake_map_files no\n  search up\n",
]


@pytest.mark.parametrize("config", CONFIGS)
def test_search_order(tree, tmp_path, config):
    for place in ("kernel/sub", "updates", "extra", "build", "source"):
        tree.add(f"{place}/mod.ko", exports=["f"], info=[f"alias={place}"])
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "mod.ko").write_bytes(module(info=["alias=outside"]))
    (outside / "only.ko").write_bytes(module(needs=["f"], info=["alias=outside"]))
    path = tmp_path / "depmod.conf"
    path.write_text(config.replace("@", str(tmp_path)))
    tree.compare("-C", str(path))


def test_configuration_directories(tree, tmp_path):
    tree.add("extra/mod.ko", info=["alias=extra"])
    tree.add("kernel/mod.ko", info=["alias=kernel"])
    one, two = tmp_path / "one.d", tmp_path / "two.d"
    for directory, place in ((one, "extra"), (two, "kernel")):
        directory.mkdir()
        (directory / "search.conf").write_text(f"search {place}\n")
        (directory / "ignored.txt").write_text("nonsense\n")
    (two / "sub.conf").mkdir()
    tree.compare("-C", str(one), "-C", str(two))
    tree.compare("-C", str(two), "-C", str(one))
    tree.compare("--config=/nonexistent")


def test_links_and_things_that_are_no_files(tree):
    tree.add("kernel/a.ko")
    (tree.path / "link").symlink_to(tree.path / "kernel")
    (tree.path / "kernel/c.ko").symlink_to("a.ko")
    os.mkfifo(tree.path / "kernel/pipe.ko")
    assert "unsupported file type" in tree.compare().err


def test_compressed_modules(tree):
    tree.add("kernel/a.ko.xz", lzma.compress(module(exports=["a"])))
    tree.add("kernel/b.ko.zst", zstandard.compress(module(needs=["a"], info=["alias=b"])))
    tree.input("modules.order", "kernel/b.ko\nkernel/a.ko\n")
    tree.compare()
    assert (tree.path / "modules.dep").read_text() == "kernel/b.ko.zst: kernel/a.ko.xz\nkernel/a.ko.xz:\n"


def test_names_of_files(tree):
    for name in (".ko", "a.ko.gz", "b.koo", "c-d.e.ko", "f.ko.xz.old", "g.KO"):
        tree.add(f"kernel/{name}", exports=["x"])
    tree.compare()


# --- the command line -----------------------------------------------------------------------------------


def test_files_on_the_command_line(tree, tmp_path):
    tree.add("kernel/a.ko", exports=["a"])
    tree.add("kernel/b.ko", needs=["a"])
    outside = tmp_path / "outside.ko"
    outside.write_bytes(module(needs=["a"]))
    path = str(tree.path / "kernel/a.ko")
    tree.compare(operands=(RELEASE, path, str(outside)))
    tree.compare("-a", operands=(RELEASE, path))
    assert tree.compare(operands=(RELEASE, "kernel/a.ko")).err.endswith("not absolute path.\n")
    assert "No such file or directory" in tree.compare(operands=(RELEASE, "/nonexistent.ko")).err


@pytest.mark.parametrize(
    "args",
    [
        ("-x",),
        ("--nonsense",),
        ("--s",),
        ("-aAv", "--quiet", "-q", "-u", "-r", "--root", "--unresolved-error", "--map"),
        ("-E", "x", "-P"),
        ("--all=yes",),
    ],
)
def test_options(tree, args):
    tree.add("kernel/a.ko")
    tree.compare(*args)


def test_an_option_without_its_argument(tree):
    tree.compare(operands=("-b",))


@pytest.mark.parametrize("release", ["x", "6", "/lib/a.ko", "", " 6.1"])
def test_what_is_a_release(tree, release):
    tree.add("kernel/a.ko")
    tree.compare(operands=(release,))


def test_quick_does_nothing_while_nothing_is_newer(tree):
    tree.add("kernel/a.ko", info=["alias=new"])
    old = tree.path / "modules.dep"
    for tool in (real, ours):
        tree.clear()
        old.write_text("old\n")
        assert tool("depmod", "-b", str(tree.base), "-A", RELEASE) == (0, "", "")
        assert old.read_text() == "old\n"
        os.utime(old, (1, 1))
        assert tool("depmod", "-b", str(tree.base), "-A", RELEASE) == (0, "", "")
        assert old.read_text() == "kernel/a.ko:\n"


def test_another_place_for_the_files(tree, tmp_path):
    """kmod has -o and -m since release 31, so nothing is there to compare with."""
    tree.add("kernel/a.ko")
    args = ("-b", str(tree.base), "-o", str(tmp_path / "out"), "-m", "/lib/modules", RELEASE)
    assert ours("depmod", *args) == (0, "", "")
    assert not tree.files()
    assert (tmp_path / "out/lib/modules" / RELEASE / "modules.dep").read_text() == "kernel/a.ko:\n"


def test_the_machines_own_directory(tree, tmp_path):
    tree.add("kernel/a.ko")
    Kernel(modules=tree.path).save(tmp_path / "machine.kmod")
    assert ours("depmod", state=tmp_path / "machine.kmod") == (0, "", "")
    assert tree.files()["modules.dep"] == b"kernel/a.ko:\n"


def test_this_computers_own_files_are_left_alone():
    result = ours("depmod", RELEASE)
    assert result.status == 1
    assert "belongs to this computer" in result.err


# --- at large -------------------------------------------------------------------------------------------

NAMES = ["a", "b-b", "c_c", "dd", "e", "ext4", "f0", "usb-storage", "nf_nat", "x"]
ALIASES = st.text(alphabet="abp:v*?[0-9]", max_size=8).map("alias={}".format)


def symbols(numbers):
    return st.lists(numbers.map("s{}".format), max_size=3)


@st.composite
def modules(draw, circles=False):
    """Modules by name; without circles, each needs what later ones export."""
    made = {}
    names = draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=3 if circles else None))
    for at, name in enumerate(names):
        made[name] = {
            "exports": draw(symbols(st.integers(0, 2 if circles else at))),
            "needs": draw(symbols(st.integers(0 if circles else at + 1, len(names) + 1))),
            "weak": draw(symbols(st.integers(0 if circles else at + 1, len(names) + 1))),
            "info": draw(st.lists(st.one_of(ALIASES, st.just("softdep=pre: e")), max_size=5)),
            "crcs": draw(st.booleans()),
        }
    return made


@settings(max_examples=40, deadline=None)
@given(modules=modules(), order=st.lists(st.sampled_from(NAMES), max_size=4))
def test_any_tree(tmp_path_factory, modules, order):
    tree = Tree(tmp_path_factory.mktemp("tree"))
    for name, parts in modules.items():
        tree.add(f"kernel/{name}.ko", **parts)
    tree.input("modules.order", "".join(f"kernel/{name}.ko\n" for name in order))
    tree.compare("-w")


@settings(max_examples=12, deadline=None)
@given(modules=modules(circles=True))
def test_any_circle(tmp_path_factory, modules):
    tree = Tree(tmp_path_factory.mktemp("tree"))
    for name, parts in modules.items():
        tree.add(f"kernel/{name}.ko", **parts)
    try:
        tree.compare()
    except AssertionError:
        theirs = real("depmod", "-nb", str(tree.base), RELEASE)
        # kmod 30 takes all memory where a way leads into another circle, and asserts that ways are few
        assume(theirs.status == 0 or "modules in dependency cycles!" in theirs.err)
        raise


@pytest.mark.skipif(not KERNELS, reason="no Debian kernel here")
def test_a_whole_kernel(tree):
    """All modules of a Debian kernel, through a link, since they are 400 MB."""
    kernel = KERNELS[-1]
    (tree.path / "kernel").symlink_to(kernel)
    for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(kernel.parent / name, tree.path)
    assert tree.compare() == (0, "", "")
    index = Index((tree.path / "modules.alias.bin").read_bytes())
    assert index.searchwild(b"fs_btrfs") == [b"btrfs"]
