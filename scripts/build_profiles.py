"""Build the profiles in kmod_emu/data/profiles from real kernels.

    python scripts/build_profiles.py VMLINUZ...

Each VMLINUZ gives one file, named by its release. The same kernel gives the same bytes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from kmod_emu.abi.profile import SHIPPED, SUFFIX, Profile
from kmod_emu.vmlinux.build import from_image


def main(arguments: list[str]) -> int:
    """Build a profile from each kernel."""
    for kernel in map(Path, arguments):
        contents = from_image(kernel.read_bytes())
        profile = Profile.from_bytes(contents)
        path = SHIPPED / f"{profile.release}{SUFFIX}"
        path.write_bytes(contents)
        sys.stdout.write(
            f"{path.name}: {len(profile.exports)} exports, {len(profile.structs)} structs, "
            f"{len(contents)} bytes\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
