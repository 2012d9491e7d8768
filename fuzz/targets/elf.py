"""The checks of a module's file, as each of the four releases makes them."""

from kmod_emu import KernelError
from kmod_emu.abi.profile import load
from kmod_emu.module.errors import KernelWouldCrash
from kmod_emu.module.traits import Traits
from kmod_emu.module.verify import elf_validity_check, setup_load_info
from tests.conftest import RECORDINGS

EXPECTED = (KernelError, KernelWouldCrash)


def seeds():
    return [
        (RECORDINGS / "errno-cases" / f"h_{name}.ko").read_bytes() for name in ("hello", "none", "noinit")
    ]


def start():
    releases = [(profile, Traits.of(profile)) for profile in map(load, ("5.10", "6.1", "6.12", "7.2"))]

    def run(data):
        profile, traits = releases[len(data) % 4]
        image = elf_validity_check(data, traits)
        setup_load_info(image, profile, traits)
        image.modinfo_tags()
        for symbol in image.symbols:
            image.symbol_name(symbol)

    return run
