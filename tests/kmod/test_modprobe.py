"""modprobe beside Debian's own: what it would do, what it knows, what it complains about."""

import lzma
import os
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kmod_emu import Kernel
from kmod_emu.fs.syslog import Syslog
from kmod_emu.kmod import modprobe
from tests.conftest import RECORDINGS
from tests.kmod.beside import ours, real, real_kmod
from tests.kmod.kofile import module

RELEASE = "6.1.0-test"
KERNELS = sorted(Path("/lib/modules").glob("6.1.0-*-amd64"))
SAFE = {"-D", "-n", "-c", "-R", "--show-depends", "--showconfig", "--show-config", "--resolve-alias"}
SAFE |= {"--dry-run", "--show", "--show-exports", "--show-modversions", "--dump-modversions", "-rn", "-nr"}
POINTER = re.compile(r"ctx=0x[0-9a-f]+")

MODULES = {
    "kernel/base.ko": {"exports": ["base"], "info": ["alias=pci:v00001234d*sv*", "alias=fs-base"]},
    "kernel/mid-dle.ko": {
        "exports": ["mid"],
        "needs": ["base"],
        "info": ["alias=pci:v00001234d0000000[0-4]sv*"],
    },
    "kernel/top.ko": {"needs": ["mid", "base"], "info": ["alias=fs-base", "alias=net-pf-[0-9]-proto-?"]},
    "kernel/soft.ko": {"needs": ["base"], "info": ["softdep=pre: mid_dle post: top no_such"]},
    "kernel/lone.ko": {"info": ["alias=usb:v*p*", "alias=char-major-10-*"]},
}


class Tree:
    """A module tree with a configuration, for both tools."""

    def __init__(self, path):
        self.base, self.release = path, RELEASE
        self.config = path / "modprobe.d"
        self.state = path / "machine.kmod"
        self.path = path / "lib/modules" / RELEASE
        self.config.mkdir(parents=True)
        self.path.mkdir(parents=True)
        for where, parts in MODULES.items():
            (self.path / where).parent.mkdir(exist_ok=True)
            (self.path / where).write_bytes(module(**parts))
        (self.path / "modules.order").touch()
        (self.path / "modules.builtin").write_text("kernel/in-side.ko\nkernel/fs/ext4.ko\n")
        (self.path / "modules.builtin.modinfo").write_bytes(b"ext4.alias=fs-ext4\0in-side.alias=in:*\0")
        assert ours("depmod", "-b", str(path), RELEASE).status == 0

    def configure(self, text, name="test.conf"):
        (self.config / name).write_text(text, encoding="utf-8", errors="surrogateescape")

    def args(self, *args):
        return "-d", str(self.base), "-S", self.release, "-C", str(self.config), *args

    def compare(self, *args):
        """Run both, whose answers must be the same; ours is given back."""
        assert SAFE & set(args), "the real modprobe only ever tells what it would do"
        expected, result = (
            tool("modprobe", *self.args(*args), **more)
            for tool, more in ((real, {}), (ours, {"state": self.state}))
        )
        expected, result = (
            answer._replace(err=POINTER.sub("ctx=*", answer.err)) for answer in (expected, result)
        )
        assert result == expected
        return result


@pytest.fixture
def tree(tmp_path, monkeypatch):
    # The real one reads this computer's command line, ours the machine's.
    here = Path("/proc/cmdline").read_text()
    monkeypatch.setattr(modprobe, "kernel_command_line", lambda kernel: here)
    return Tree(tmp_path)


NAMES = [
    "base",
    "mid-dle",
    "mid_dle",
    "top",
    "soft",
    "lone",
    "in-side",
    "ext4",
    "nothing",
    "Top",
    "",
    "mid.dle",
]
NAMES += [
    "base.ko",
    "kernel/base.ko",
    "./base",
    "mid dle",
    "a" * 300,
    "symbol:base",
    "symbol:none",
    "fs-base",
]
NAMES += [
    "fs_base",
    "fs-ext4",
    "in:x",
    "pci:v00001234d00000003sv5",
    "pci:v00001234d00000009sv",
    "pci:v1",
    "usb:vp",
]
NAMES += [
    "net-pf-2-proto-6",
    "net-pf-a-proto-6",
    "char-major-10-229",
    "a[b",
    "a]b",
    "[x-y]",
    "*",
    "?",
    "\\",
    "ü",
]


@real_kmod
@pytest.mark.parametrize("name", NAMES)
def test_names(tree, name):
    for mode in ("-D", "-R", "-n"):
        tree.compare(mode, "--", name)
    tree.compare("-D", "-a", "--", name, "lone", name)


CONFIGS = {
    "alias": (
        "alias foo top\nalias f-o* mid-dle\nalias bar foo\nalias ext4 base\nalias n no-such\nalias x\nalias\n"
    ),
    "options": (
        'options top a=1\toptions b\noptions mid-dle x="a b" y\noptions  base  z\n'
        "options foo p=1\noptions top"
    ),
    "alias options": "alias foo top\noptions foo p=1\noptions top q=2\nalias foo base\n",
    "install": (
        "install top /bin/true $CMDLINE_OPTS x $CMDLINE_OPTS\ninstall made-up echo\ninstall m* first\n"
    ),
    "install twice": "install top one\ninstall top two\nremove top three\nremove only it\ninstall base",
    "blacklist": (
        "blacklist base\nblacklist mid-dle\nblacklist\nblacklist [\nalias foo mid_dle\nblacklist in-side"
    ),
    "softdep": (
        "softdep top pre: lone soft post: base\nsoftdep lone  pre: top\nsoftdep base post: lone  pre:"
    ),
    "softdep twice": (
        "softdep top pre: lone\nsoftdep top post: soft\nsoftdep lone what pre\nsoftdep t* pre: x"
    ),
    "softdep of nothing": "softdep top pre: b[ad post: worse]",
    "backslashes": "alias fo\\o top\n\\alias bar top\\\\\nalias lone b\\",
    "lines": (
        "# no\n#\n\n  alias foo \\\n  top\nbad line here\n alias\nAlias x y\ninclude /x\nconfig y\n\\\n\\"
    ),
    "end": "alias foo top\\",
    "bytes": "alias f\udcfc top\noptions top a=\udce4\r\nalias cr top\r\n",
    "brackets": "alias a[b-c]-d top\nalias e] top\nalias f[ top\noptions g[ x\nalias [!a]-z lone",
}
ASKED = [
    "top",
    "foo",
    "f-oo",
    "bar",
    "mid_dle",
    "soft",
    "lone",
    "base",
    "made-up",
    "ext4",
    "n",
    "only",
    "ab_d",
    "b_z",
]


@real_kmod
@pytest.mark.parametrize("config", CONFIGS)
def test_configurations(tree, config):
    tree.configure(CONFIGS[config])
    tree.compare("-c")
    for flags in ((), ("-b",), ("-i",), ("-q",), ("--first-time",)):
        tree.compare("-D", "-a", *flags, *ASKED)
        tree.compare("-n", "-v", "-a", *flags, *ASKED)
    tree.compare("-R", "-a", *ASKED)
    tree.compare("-D", "top", "a=b", "c=d e", 'f="g h"', "i='j k'", "l", "m n", "=o p")


@real_kmod
def test_removing_what_is_not_there(tree):
    tree.configure("remove lone echo bye $CMDLINE_OPTS\n")
    for names in (["top"], ["ext4"], ["nothing"], ["a["], ["lone"], ["top", "ext4", "nothing", "lone"]):
        tree.compare("-rn", *names)
        tree.compare("-rn", "-a", *names)
        tree.compare("-rn", "-v", "-i", "--first-time", *names)
        tree.compare("-rn", "-q", "--remove-holders", *names)


@real_kmod
def test_the_order_of_configuration_files(tree, tmp_path):
    other = tmp_path / "other.d"
    other.mkdir()
    for directory, target in ((tree.config, "base"), (other, "lone")):
        for name in ("a.conf", "B.conf", "c.alias", ".hidden.conf", "d.txt", "x.conf"):
            if (directory, name) != (tree.config, "x.conf"):
                (directory / name).write_text(
                    f"alias {name[0]} {target}\nalias same {target}\noptions {target} {name}\n"
                )
    (tree.config / "sub.conf").mkdir()
    tree.compare("-c", "-C", str(other))
    tree.compare("-c", "-C", str(other / "d.txt"), "-C", "/nonexistent")
    tree.compare("-R", "same", "-C", str(other))


@real_kmod
@pytest.mark.parametrize("lost", ["dep", "alias", "symbols", "builtin", "builtin.alias", "softdep", "*"])
def test_missing_and_damaged_indexes(tree, lost):
    for path in tree.path.glob("modules.*"):
        if lost in ("*", path.name.removeprefix("modules.").removesuffix(".bin")):
            path.unlink()
    for mode in ("-D", "-R"):
        tree.compare(mode, "-a", *NAMES[:10], "symbol:base", "fs-base", "fs-ext4")
    tree.compare("-c")


@real_kmod
def test_missing_module_files(tree):
    (tree.path / "kernel/mid-dle.ko").unlink()
    tree.compare("-D", "mid-dle")
    assert "error=No such file or directory" in tree.compare("-D", "top").err


@real_kmod
@pytest.mark.parametrize(
    "args",
    [
        (),
        ("-x",),
        ("--nonsense",),
        ("--show",),
        ("--show-de",),
        ("-w",),
        ("-w", "x", "top"),
        ("-w", "", "top"),
        ("-w", "0x10", "top"),
        ("--first", "--use", "top"),
        ("--dry-run=1", "top"),
        ("-q",),
        ("-qa",),
        ("-sv", "top"),
    ],
)
def test_options(tree, args):
    tree.compare("-n", *args)


@real_kmod
def test_options_from_the_environment(tree, monkeypatch):
    monkeypatch.setenv("MODPROBE_OPTIONS", "-D '-a'")
    assert ours("modprobe", *tree.args("top", "lone"), state=tree.state) == real(
        "modprobe", *tree.args("-D", "-a", "top", "lone")
    )


@real_kmod
def test_symbols_of_a_file(tree):
    path = tree.base / "x.ko"
    path.write_bytes(
        module(exports=[("a", 0x12), ("bee", 0xFFFFFFFF)], versions=[("printk", 1), (".dot", 2)])
    )
    for mode in ("--show-exports", "--show-modversions", "--dump-modversions"):
        tree.compare(mode, str(path))
        tree.compare(mode, str(tree.path / "kernel/lone.ko"))
        tree.compare(mode, "/nonexistent.ko")
        tree.compare(mode, str(tree.path / "modules.order"))


def test_the_kernels_command_line():
    """As libkmod-config.c reads it; the real modprobe can only be shown this computer's."""
    from kmod_emu.kmod.config import read_config

    line = 'quiet a-b.c=d "e.f=g h" i.j="k l" modprobe.blacklist=m,n-o p.q r.s.t=u v=w.x "y z.a=b" c.d=e"\n'
    config = read_config("/nonexistent", [], line.replace('e"', "e"), lambda text: None)
    assert config.options == [("a_b", "c=d"), ("e", 'f="g h"'), ("i", 'j="k l"'), ("p", "q"), ("c", "d=e")]
    assert config.blacklist == ["m", "n-o"]


WORDS = [
    "alias",
    "options",
    "install",
    "blacklist",
    "softdep",
    "remove",
    "pre:",
    "post:",
    "top",
    "mid-dle",
    "lone",
]
WORDS += ["base", "t*", "a=1", "\\\n", "\n", "\n", "  ", "#", "[a-z]*", "[", "foo", "soft"]


@real_kmod
@settings(max_examples=40, deadline=None)
@given(text=st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join))
def test_any_configuration(tmp_path_factory, text):
    tree = Tree(tmp_path_factory.mktemp("tree"))
    here = Path("/proc/cmdline").read_text()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modprobe, "kernel_command_line", lambda kernel: here)
        tree.configure(text.replace(" \n ", "\n"))
        tree.compare("-c")
        tree.compare("-D", "-a", "top", "mid-dle", "lone", "foo", "soft")


@real_kmod
@pytest.mark.skipif(not KERNELS, reason="no Debian kernel here")
def test_a_whole_kernel(tmp_path, monkeypatch, tree):
    """Names and aliases of a Debian kernel, with the indexes that are there."""
    tree.base, tree.release = Path("/"), KERNELS[-1].name
    names = [line.partition(":")[0] for line in (KERNELS[-1] / "modules.dep").read_text().splitlines()]
    names = [os.path.basename(name).partition(".")[0] for name in names]
    assert tree.compare("-D", "-a", *names[::10]).status == 0
    tree.compare("-R", "-a", *names[::5])
    aliases = [line.split()[1] for line in (KERNELS[-1] / "modules.alias").read_text().splitlines()[1:]]
    filled = [
        re.sub(r"\[[^]]*\]", "1", alias.replace("*", "0012").replace("?", "7")) for alias in aliases[::400]
    ]
    tree.compare("-R", "-a", *filled)
    tree.compare("-D", "-a", *filled[::2])


# --- on the machine -------------------------------------------------------------------------------------


FILES = ["h_exp", "h_use", "h_hello", "h_params", "mi_vermagic_other"]  # h_use needs h_exp


@pytest.fixture
def machine(tmp_path):
    """modprobe on a kept machine of its own, with `configuration`; `.tool` calls the others."""
    release = Kernel().profile.release
    path = tmp_path / "lib/modules" / release
    path.mkdir(parents=True)
    for name in FILES:
        shutil.copy(RECORDINGS / "errno-cases" / f"{name}.ko", path)
    (path / "h_use.ko.xz").write_bytes(lzma.compress((path / "h_use.ko").read_bytes()))
    (path / "h_use.ko").unlink()

    def tool(name, *args):
        return ours(name, *args, state=tmp_path / "machine.kmod")

    def modprobe(*args, configuration=""):
        (tmp_path / "test.conf").write_text(configuration)
        return tool("modprobe", "-d", str(tmp_path), "-C", str(tmp_path / "test.conf"), *args)

    assert tool("depmod", "-b", str(tmp_path), release).status == 0
    modprobe.tool = tool
    modprobe.loaded = lambda: [line.split()[0] for line in tool("lsmod").out.splitlines()[1:]]
    modprobe.path = path
    modprobe.syslog = lambda: Kernel.load(tmp_path / "machine.kmod")[Syslog].text()
    return modprobe


DONE = (0, "", "")


def test_what_a_module_needs_is_loaded_first_and_removed_last(machine):
    assert machine("h-use") == DONE
    assert machine.loaded() == ["h_use", "h_exp"]
    assert machine("h_use") == DONE
    assert machine("-r", "h_exp").err == "modprobe: FATAL: Module h_exp is in use.\n"
    assert machine("-r", "h-use") == DONE
    assert machine.loaded() == []
    assert machine("-r", "h_use") == DONE


def test_each_step_is_told(machine):
    exp, use = machine.path / "h_exp.ko", machine.path / "h_use.ko.xz"
    assert machine("-v", "h_use").out == f"insmod {exp} \ninsmod {use} \n"
    assert machine("-v", "h_use").out == ""
    assert machine("-rv", "h_use").out == "rmmod h_use\nrmmod h_exp\n"
    assert machine("-nv", "h_use").out == f"insmod {exp} \ninsmod {use} \n"
    assert machine.loaded() == []


def test_holders_are_removed_when_that_is_asked_for(machine):
    """kmod 30 removes h_exp along with its last holder, and then fails to remove it once more."""
    machine("h_use")
    assert machine("-rv", "--remove-holders", "h_exp") == (
        1,
        "rmmod h_use\nrmmod h_exp\nrmmod h_exp\n",
        "modprobe: ERROR: ../libkmod/libkmod-module.c:856 kmod_module_remove_module() "
        "could not remove 'h_exp': No such file or directory\n",
    )
    assert machine.loaded() == []


def test_first_time(machine):
    assert machine("--first-time", "-r", "h_exp").err == "modprobe: FATAL: Module h_exp is not in kernel.\n"
    assert machine("--first-time", "h_use") == DONE
    assert machine("--first-time", "h_use").err == (
        "modprobe: ERROR: could not insert 'h_use': Module already in kernel\n"
    )


def test_parameters_come_from_the_configuration_and_the_command_line(machine):
    result = machine("-v", "h_params", "num=7", configuration="options h-params num=5 name=x\n")
    assert result.out == f"insmod {machine.path}/h_params.ko num=5 name=x num=7\n"


def test_a_refused_module(machine):
    assert machine("mi_vermagic_other").err == (
        "modprobe: ERROR: could not insert 'mi_vermagic_other': Exec format error\n"
    )
    assert machine("-vv", "mi_vermagic_other").err == (
        "modprobe: INFO: ../libkmod/libkmod-module.c:949 kmod_module_insert_module() Failed to insert module "
        f"'{machine.path}/mi_vermagic_other.ko': Exec format error\n"
        "modprobe: ERROR: could not insert 'mi_vermagic_other': Exec format error\n"
    )
    assert machine("--force-vermagic", "mi_vermagic_other") == DONE
    assert (
        machine("nothing").err == f"modprobe: FATAL: Module nothing not found in directory {machine.path}\n"
    )
    result = machine("-a", "nothing", "h_hello")
    assert result.status == 1
    assert result.err.startswith("modprobe: WARNING: Module nothing not found")
    assert machine.loaded()[0] == "h_hello"


def test_a_damaged_file(machine):
    (machine.path / "h_hello.ko").write_bytes(b"nothing")
    assert machine("h_hello").err == "modprobe: ERROR: could not insert 'h_hello': Exec format error\n"
    (machine.path / "h_hello.ko").unlink()
    assert machine("h_hello").err == (
        "modprobe: ERROR: could not insert 'h_hello': Unknown symbol in module, "
        "or unknown parameter (see dmesg)\n"
    )


def test_a_damaged_index(machine):
    path = machine.path / "modules.dep.bin"
    data = path.read_bytes()
    path.write_bytes(data[:8] + b"\xff\xff\xff\xf0" + data[12:])
    result = machine("h_exp")
    assert result.status == 1
    assert result.err.startswith(f"kmod-emu: {path} is damaged: ")


def test_soft_dependencies(machine):
    assert (
        machine("h_exp", configuration="softdep h_exp pre: h_hello mi_vermagic_other post: h_use\n") == DONE
    )
    assert machine.loaded() == ["h_use", "h_exp", "h_hello"]
    assert machine("-rv", "h_use", configuration="softdep h_use pre: h_hello post: h_params\n").out == (
        "rmmod h_use\nrmmod h_exp\nrmmod h_hello\n"
    )


def test_messages_in_the_system_log(machine):
    assert machine("-s", "nothing") == (1, "", "")
    assert machine("-s", "-a", "mi_vermagic_other") == (1, "", "")
    log = [line.partition("modprobe: ")[2] for line in machine.syslog().splitlines() if "modprobe" in line]
    assert log == [
        f"FATAL: Module nothing not found in directory {machine.path}",
        "ERROR: could not insert 'mi_vermagic_other': Exec format error",
    ]


def test_the_machines_own_module_directory(machine, tmp_path):
    Kernel(modules=machine.path).save(tmp_path / "machine.kmod")
    assert machine.tool("modprobe", "-C", str(tmp_path), "h_use") == DONE
    assert machine.loaded() == ["h_use", "h_exp"]


def test_commands_are_not_run(machine, tmp_path):
    mark = tmp_path / "mark"
    install = f"install h_exp echo $MODPROBE_MODULE $CMDLINE_OPTS > {mark}\nremove h_hello touch {mark}\n"
    result = machine("h_exp", "a=b", configuration=install)
    assert (result.status, mark.exists(), machine.loaded()) == (0, False, [])
    assert result.err == (
        f"modprobe: WARNING: install command of h_exp not run, --run-commands would: "
        f"echo $MODPROBE_MODULE a=b > {mark}\n"
    )
    assert machine("-r", "h_hello", configuration=install).status == 0
    assert not mark.exists()
    assert machine("--run-commands", "h_exp", "a=b", configuration=install) == DONE
    assert mark.read_text() == "h_exp a=b\n"


def test_commands_whose_outcome_is_known(machine):
    assert machine("h_exp", configuration="install h_exp /bin/true\n") == DONE
    result = machine("h_exp", configuration="install h_exp /bin/false\n")
    assert result.status == 1
    assert result.err.endswith("modprobe: ERROR: could not insert 'h_exp': Invalid argument\n")
    assert machine("-i", "h_exp", configuration="install h_exp /bin/false\n") == DONE


def test_the_blacklist(machine):
    configuration = "alias greeting h_hello\nblacklist h-hello\n"
    assert machine("greeting", configuration=configuration) == DONE
    assert machine("-b", "h_hello", configuration=configuration) == DONE
    assert machine.loaded() == []
    assert machine("h_hello", configuration=configuration) == DONE
    assert machine.loaded() == ["h_hello"]


@real_kmod
def test_weak_dependencies(tree):
    """As of kmod 33: depmod writes them where modules have some, modprobe shows and never loads them."""
    assert not (tree.path / "modules.weakdep").exists()
    tree.compare("-c")
    (tree.path / "kernel/weak.ko").write_bytes(module(info=["weakdep=lone  base"]))
    assert ours("depmod", "-b", str(tree.base), RELEASE).status == 0
    told = "# Weak dependencies extracted from modules themselves.\nweakdep weak lone  base\n"
    assert (tree.path / "modules.weakdep").read_text() == told
    shown = ours("modprobe", *tree.args("-c"), state=tree.state)
    assert "weakdep weak lone base\n" in shown.out
    assert shown.err == ""
    tree.compare("-D", "weak")
    tree.configure("weakdep top base\n")
    assert "ignoring bad line starting with 'weakdep'" in tree.compare("-D", "top").err
