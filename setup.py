"""What pyproject.toml cannot say: files beside the package, some of them made from its commands.

Man pages and completions need the package's own requirements: a wheel is built with them (scripts/backend).
"""

import shutil
import sys
from collections import defaultdict
from pathlib import Path

from setuptools import setup
from setuptools.command.egg_info import egg_info

ROOT = Path(__file__).parent
SHARE, SBOM = Path("build/share"), ROOT / "build" / "sbom.cdx.json"
COMPLETIONS = {
    "bash": "bash-completion/completions/kmod-emu",
    "zsh": "zsh/site-functions/_kmod-emu",
    "fish": "fish/vendor_completions.d/kmod-emu.fish",
}


class EggInfo(egg_info):
    """Puts the bill of materials where PEP 770 has it, if `make sbom` wrote one."""

    def run(self):
        """Write what is in .dist-info later."""
        super().run()
        if SBOM.exists():
            (Path(self.egg_info) / "sboms").mkdir(exist_ok=True)
            shutil.copy(SBOM, Path(self.egg_info) / "sboms" / "kmod-emu.cdx.json")


def generate(directory: Path) -> None:
    """Make what is made from the commands."""
    sys.path.insert(0, str(ROOT))
    try:
        from kmod_emu.cli.completion import script
        from scripts.man_pages import write
    except ImportError:
        if "bdist_wheel" in sys.argv:
            raise
        return  # somebody only asks what a wheel would need, or links to this tree
    write(directory / "man" / "man1")
    for shell, place in COMPLETIONS.items():
        (directory / place).parent.mkdir(parents=True, exist_ok=True)
        (directory / place).write_text(script(shell), encoding="utf-8")


def is_source(path: Path) -> bool:
    """Whether a file is part of what the shipped binaries are built from, and not of what a build left."""
    named = path.name in ("Makefile", "BUILD-INFO", "COMPILER")
    return named or (path.suffix in (".c", ".h", ".S", ".lds", ".md") and not path.name.endswith(".mod.c"))


def data_files():
    """Directories below the prefix, and what goes there."""
    shutil.rmtree(ROOT / SHARE, ignore_errors=True)
    generate(ROOT / SHARE)
    trees = {SHARE: "share", Path("docs"): "share/doc/kmod-emu", Path("samples/labs"): "share/kmod-emu/labs"}
    sources = {Path(name): f"share/kmod-emu/{name}" for name in ("samples", "guest_kernel_stubs")}
    found = defaultdict(list)
    for tree, place in (trees | sources).items():
        for path in sorted((ROOT / tree).rglob("*")):
            own = path.relative_to(ROOT / tree)
            wanted = tree in trees or (is_source(path) and own.parts[0] != "labs")
            if wanted and path.is_file() and "__pycache__" not in own.parts:
                found[str(Path(place) / own.parent)].append(str(tree / own))
    found["share/doc/kmod-emu"] += ["README.md", "CHANGELOG.md"]
    return list(found.items())


setup(cmdclass={"egg_info": EggInfo}, data_files=data_files())
