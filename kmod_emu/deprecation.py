"""Telling users that something is going to go; docs/versions.md says what they may rely on."""

from __future__ import annotations

import warnings
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")
_R = TypeVar("_R")


def deprecated(instead: str, *, since: str) -> Callable[[Callable[_P, _R]], Callable[_P, _R]]:
    """Decorate what is going to go: each place that calls it is warned.

    Args:
        instead: What to use from now on.
        since: The version that has that.

    >>> import warnings
    >>> @deprecated("new", since="0.2")
    ... def old(): return 1
    >>> with warnings.catch_warnings(record=True) as told:
    ...     warnings.simplefilter("always")
    ...     result = old()
    >>> result, str(told[0].message)
    (1, 'old is deprecated since 0.2: use new')
    """

    def decorate(function: Callable[_P, _R]) -> Callable[_P, _R]:
        @wraps(function)
        def warned(*args: _P.args, **kwargs: _P.kwargs) -> _R:
            name = function.__qualname__
            text = f"{name} is deprecated since {since}: use {instead}"
            warnings.warn(text, DeprecationWarning, stacklevel=2)
            return function(*args, **kwargs)

        return warned

    return decorate
