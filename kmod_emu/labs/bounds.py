"""What a process of the host may use."""

from __future__ import annotations

import resource
from contextlib import suppress


def limit(name: str, soft: int, hard: int | None = None) -> None:
    """Limit this process and those that it starts, by a name as RLIMIT_CPU.

    Hosts do not have every limit: macOS does not take one on addresses. The others hold there.
    """
    with suppress(ValueError, OSError, AttributeError):
        resource.setrlimit(getattr(resource, name), (soft, soft if hard is None else hard))
