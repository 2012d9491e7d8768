"""Serving a site until somebody has had enough."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING

import uvicorn

if TYPE_CHECKING:
    from starlette.applications import Starlette

_MOST_CLIENTS = 500
_UNUSED = "192.0.2.1", 9  # an address that nobody has: nothing is sent to it


def listen(port: int, *, shared: bool) -> tuple[socket.socket, str]:
    """A listening socket, and the host and port for an address to click on.

    Raises:
        OSError: The port is taken, or not for this user.
    """
    listener = socket.create_server(("0.0.0.0" if shared else "127.0.0.1", port))
    return listener, f"{_own_address() if shared else '127.0.0.1'}:{listener.getsockname()[1]}"


def serve(app: Starlette, listener: socket.socket) -> None:
    """Answer until Ctrl-C or SIGTERM."""
    config = uvicorn.Config(
        app,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        limit_concurrency=_MOST_CLIENTS,
        timeout_graceful_shutdown=1,
    )
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listener])


def _own_address() -> str:
    """What others on the network call this computer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_UNUSED)
        except OSError:
            return socket.gethostname()
        return str(probe.getsockname()[0])
