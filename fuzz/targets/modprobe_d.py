"""Configuration files: modprobe.d, depmod.d, modules.conf, modules.dep of 2.4, the kernel's command line."""

import tempfile
from contextlib import suppress
from pathlib import Path

from kmod_emu.classic import conf
from kmod_emu.kmod import config, depmod_config
from kmod_emu.kmod.errors import ToolError

EXPECTED = (ToolError,)


def seeds():
    return [
        b"alias a-b c_d\noptions hello n=1 who=\\\n  bob\nsoftdep a pre: b c post: d\nblacklist x\n",
        b"install a /bin/true\nremove b rmmod b\nweakdep x y\n# no\ninclude /x\nalias net-pf-[0-9]* y\n",
        b"search updates built-in\noverride a * b\nexternal 6.1 /x\nexclude z\nmake_map_files no\n",
        b"alias char-major-10 off\npath[misc]=/x\nkeep\nif -f /x\nendif\nabove a b\n/lib/a.o: /lib/b.o\n",
        b'modprobe.blacklist=a,b "a.b=c d" e.f="g h" i.j',
    ]


def start():
    path = Path(tempfile.mkdtemp(prefix="kmod-emu-fuzz-")) / "a.conf"

    def run(data):
        path.write_bytes(data)
        text = data.decode("utf-8", "surrogateescape")
        config.read_config("/nowhere", [str(path)], text, lambda said: None).dump()
        depmod_config.read_config("6.1.0", [str(path)], lambda said: None)
        with suppress(ToolError):
            list(conf.parse_dependencies(text))
        conf.parse(text, "modules.conf").alias("a")

    return run
