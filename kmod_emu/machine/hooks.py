"""Unicorn's two frequent hooks, without the two frames of Python that its binding puts around every call.

A trap or a TLB miss costs a third less so. What is called must not raise: nobody would hear of it.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from unicorn import unicorn_const as uc_const
from unicorn import x86_const as x86

if TYPE_CHECKING:
    from collections.abc import Callable

    import unicorn

try:
    from unicorn.unicorn_py3.unicorn import uclib as _uclib
except ImportError:  # another release of the binding, which does it its way then
    _uclib = None

_Words = ctypes.POINTER(ctypes.c_uint64)
# Without the last argument, which says again what the hook was added with.
_TLB_MISS = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int, _Words)
_OUT = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint32)


def on_tlb_miss(uc: unicorn.Uc, function: Callable[[int, int, int, Any], bool]) -> Callable[[], None]:
    """Call a function with (engine, address, access, entry): entry[0] becomes the page, entry[1] its rights.

    Returns:
        What ends it.
    """
    if _uclib is not None:
        return _add(uc, uc_const.UC_HOOK_TLB_FILL, _TLB_MISS(function))

    def missed(uc: object, address: int, access: int, entry: ctypes.Structure, _: object) -> bool:
        return function(0, address, access, ctypes.cast(ctypes.byref(entry), _Words))

    hook = uc.hook_add(uc_const.UC_HOOK_TLB_FILL, missed)
    return lambda: uc.hook_del(hook)


def on_out(uc: unicorn.Uc, function: Callable[[int, int, int, int], None]) -> Callable[[], None]:
    """Call a function with (engine, port, size, value) at each `out`.

    Returns:
        What ends it.
    """
    if _uclib is not None:
        return _add(uc, uc_const.UC_HOOK_INSN, _OUT(function), ctypes.c_int(x86.UC_X86_INS_OUT))

    def out(uc: object, port: int, size: int, value: int, _: object) -> None:
        function(0, port, size, value)

    hook = uc.hook_add(uc_const.UC_HOOK_INSN, out, None, 1, 0, x86.UC_X86_INS_OUT)
    return lambda: uc.hook_del(hook)


def _add(uc: unicorn.Uc, kind: int, callback: Any, *more: ctypes.c_int) -> Callable[[], None]:
    handle, everywhere = ctypes.c_size_t(), (ctypes.c_uint64(1), ctypes.c_uint64(0))
    _uclib.uc_hook_add(uc._uch, ctypes.byref(handle), kind, callback, None, *everywhere, *more)
    uc._callbacks[handle.value] = callback  # which has to stay as long as Unicorn may call it
    return lambda: uc.hook_del(handle.value)
