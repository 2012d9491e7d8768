"""What a generic netlink family can do, told in any of three kinds of struct (net/netlink/genetlink.c)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from kmod_emu.abi.structs import StructView
    from kmod_emu.kernel.kernel import KernelCore

ADMIN_PERM, DO, DUMP, HASPOL, UNS_ADMIN_PERM = 1, 2, 4, 8, 0x10
DONT_VALIDATE_STRICT, DONT_VALIDATE_DUMP, DONT_VALIDATE_DUMP_STRICT = 1, 2, 4


class Op(NamedTuple):
    """One operation, with the family's policy where it has none of its own.

    Attributes:
        pre, post: What is called around `doit`.
        policy, maxattr: Of its attributes; no policy and a largest type of 0 mean that nobody parses them.
    """

    cmd: int
    flags: int
    internal_flags: int
    validate: int
    doit: int = 0
    start: int = 0
    dumpit: int = 0
    done: int = 0
    pre: int = 0
    post: int = 0
    policy: int = 0
    maxattr: int = 0

    @property
    def capabilities(self) -> int:
        """Flags as user space is told them."""
        can = (DO if self.doit else 0) | (DUMP if self.dumpit else 0) | (HASPOL if self.policy else 0)
        return self.flags | can


class Family:
    """A registered struct genl_family."""

    def __init__(self, kernel: KernelCore, address: int) -> None:
        self.kernel, self.address = kernel, address
        self.view = kernel.view("genl_family", address)

    @property
    def name(self) -> str:
        """Its name."""
        return self.view.text("name")

    @property
    def resv_start_op(self) -> int:
        """From which operation on requests are checked strictly; none where the kernel is too old."""
        return self.view.resv_start_op if self.view.has("resv_start_op") else 256

    @property
    def parallel(self) -> bool:
        """Whether its operations may run at the same time."""
        return self.view.bit("parallel_ops")

    def groups(self) -> list[tuple[str, int]]:
        """Name and flags of its multicast groups; names may be cut off by nothing."""
        memory = self.kernel.memory
        size = 17 if self.view.has("resv_start_op") else 16  # flags came later, with 6.1 at the latest
        rows = [memory.read(self.view.mcgrps + size * index, size) for index in range(self.view.n_mcgrps)]
        return [(row[:16].decode("latin-1"), row[16] if size > 16 else 0) for row in rows]

    def ops(self) -> Iterator[Op]:
        """All operations, in the order of genl_get_cmd()."""
        yield from map(self._full, self._array("ops", "genl_ops"))
        yield from map(self._small, self._array("small_ops", "genl_small_ops"))
        if self.view.has("split_ops"):
            yield from map(self._split, self._array("split_ops", "genl_split_ops"))

    def find(self, cmd: int, *, dump: bool) -> Op | None:
        """The operation of a command; split ones are apart for asking and dumping."""
        same = [op for op in self.ops() if op.cmd == cmd]
        return next((op for op in same if (op.dumpit if dump else op.doit)), same[0] if same else None)

    def _array(self, member: str, struct: str) -> Iterator[StructView]:
        size = self.kernel.profile.struct(struct).size
        first, count = self.view.get(member), self.view.get(f"n_{member}")
        return (self.kernel.view(struct, first + size * index) for index in range(count))

    def _with_policy(self, op: Op, *, always: bool = False) -> Op:
        """Operations without a policy that are new enough take no attributes at all."""
        if op.policy or (not always and op.cmd < self.resv_start_op):
            return op
        return op._replace(policy=self.kernel.symbols.address("genl_policy_reject_all"), maxattr=1)

    def _common(self, view: StructView) -> Op:
        flags = view.flags, view.internal_flags, view.validate
        return Op(view.cmd, *flags, pre=self.view.pre_doit, post=self.view.post_doit)

    def _full(self, view: StructView) -> Op:
        op = self._common(view)._replace(
            doit=view.doit,
            start=view.get("start"),
            dumpit=view.dumpit,
            done=view.done,
            policy=view.policy or self.view.policy,
            maxattr=view.maxattr or self.view.maxattr,
        )
        return self._with_policy(op)

    def _small(self, view: StructView) -> Op:
        op = self._common(view)._replace(
            doit=view.doit, dumpit=view.dumpit, policy=self.view.policy, maxattr=self.view.maxattr
        )
        return self._with_policy(op)

    def _split(self, view: StructView) -> Op:
        op = Op(
            view.cmd, view.flags, view.internal_flags, view.validate, policy=view.policy, maxattr=view.maxattr
        )
        if op.flags & DUMP:
            op = op._replace(start=view.get("start"), dumpit=view.dumpit, done=view.done)
        else:
            op = op._replace(pre=view.pre_doit, doit=view.doit, post=view.post_doit)
        return self._with_policy(op, always=True)

    def write_op(self, op: Op, address: int) -> None:
        """Lay an operation out as functions of the module get to see it."""
        name = "genl_split_ops" if self.view.has("split_ops") else "genl_ops"
        view = self.kernel.view(name, address)
        pairs = {"pre_doit": op.pre, "post_doit": op.post} if name == "genl_split_ops" else {}
        pairs |= {
            "doit": op.doit,
            "policy": op.policy,
            "maxattr": op.maxattr,
            "cmd": op.cmd,
            "flags": op.flags,
        }
        pairs |= {"internal_flags": op.internal_flags, "validate": op.validate}
        if op.dumpit:
            pairs = {
                key: value for key, value in pairs.items() if key not in ("pre_doit", "doit", "post_doit")
            }
            pairs |= {"start": op.start, "dumpit": op.dumpit, "done": op.done}
            if name == "genl_ops":
                pairs["doit"] = op.doit
        for member, value in pairs.items():
            view.set(member, value)
