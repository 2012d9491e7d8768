"""How the module loader of a release differs from that of others.

Much of it leaves no trace in a kernel's tables, so each trait is read off a fact that came with it or soon
after: a release between those that were looked at gets the behaviour of the nearest change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from kmod_emu.abi.profile import Profile


class Traits(NamedTuple):
    """What load_module does its own way in a release.

    Attributes:
        silent: Its checks of the ELF file have one message for all faults, those of parameters and taints
            are older too: no taint for test modules, no compressed files, one flag for the signature.
        early: Everything is checked before memory is allocated: the name is free, `struct module` has its
            size. What only taints is said when the module is on the list.
        indexed: The file is checked in full, string tables and extended versions included, in an order of
            its own. Call sites of static calls are read-only after init, as static branches are.
        flagged: One table of exports, with a flag each, instead of one table a licence; namespaces that
            name modules; init must not return what the system call means by EEXIST.
    """

    silent: bool
    early: bool
    indexed: bool
    flagged: bool

    @classmethod
    def of(cls, profile: Profile) -> Traits:
        """The traits of a release.

        >>> from kmod_emu.abi.profile import load
        >>> [sum(Traits.of(load(series))) for series in ("5.10", "6.1", "6.12", "7.2")]
        [1, 0, 1, 3]
        """
        return cls(
            silent=profile.has("exception_table_entry.handler"),
            early=profile.has("module.mem"),
            indexed=profile.has("module_memory.is_rox"),
            flagged=profile.has("module.flagstab"),
        )
