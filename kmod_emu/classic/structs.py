"""Structures of Linux 2.4 on x86-64, as far as modules and insmod see them (include/linux/module.h, fs.h).

`struct module` and those around it are as 2.4.32 has them, since insmod and kernel must agree on them. Of
`struct file` and `struct inode` there is what `samples/classic/include` declares.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from kmod_emu.abi.struct_table import StructTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kmod_emu.abi.layout import StructLayout

RELEASE = "2.4.32"

STRUCTS: Mapping[str, StructLayout] = StructTable(
    """\
module 184 size_of_struct next name size usecount/4 flags nsyms/4 ndeps/4 syms deps refs init cleanup \
ex_table_start ex_table_end persist_start persist_end can_unload runsize/4 kallsyms_start kallsyms_end \
archdata_start archdata_end kernel_data
module_symbol 16 value name
module_ref 24 dep ref next_ref
module_info 32 addr size flags usecount
kernel_sym 72 value name/60
exception_table_entry 16 insn fixup
file_operations 136 owner llseek read write readdir poll ioctl mmap open flush release fsync fasync lock \
readv writev sendpage
file 72 f_list/16 f_dentry f_vfsmnt f_op f_count/4 f_flags/4 f_mode/4 f_pos private_data
inode 16 i_ino i_rdev/2 i_mode/2""",
    RELEASE,
)
MODULE, MODULE_SYMBOL, MODULE_REF = (STRUCTS[name] for name in ("module", "module_symbol", "module_ref"))

# module.flags
MOD_RUNNING, MOD_DELETED, MOD_AUTOCLEAN, MOD_VISITED = 1, 2, 4, 8
MOD_USED_ONCE, MOD_JUST_FREED, MOD_INITIALIZING = 16, 32, 64

QM_MODULES, QM_DEPS, QM_REFS, QM_SYMBOLS, QM_INFO = 1, 2, 3, 4, 5

SYMBOL = struct.Struct("<QQ")  # struct module_symbol: value, name
REF = struct.Struct("<QQQ")  # struct module_ref: dep, ref, next_ref
INFO = struct.Struct("<QQQq")  # struct module_info: addr, size, flags, usecount
KERNEL_SYM = struct.Struct("<Q60s4x")


class Info(NamedTuple):
    """What query_module(QM_INFO) tells: `struct module_info`."""

    addr: int
    size: int
    flags: int
    usecount: int
