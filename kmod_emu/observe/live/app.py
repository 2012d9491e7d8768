"""The page over HTTP: who may see it, and what its panel asks for.

Alone, the page is at /, and only a browser that means localhost gets it: a page from elsewhere whose name
was bent to this machine does not. Shared, there are two addresses, each with a secret: the presenter's,
which moves everybody, and the class's, which only looks. A GET changes nothing.
"""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse
from starlette.routing import Route

from kmod_emu.observe.live.moments import NoMoment
from kmod_emu.observe.report.page import page

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.requests import Request
    from starlette.responses import Response

    from kmod_emu.observe.live.moments import Moments

_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_LONGEST_NUMBER = 20
_LONGEST_PLACE = 200
_DEFAULT_SIZE = 128
_HEADERS = {
    "Content-Security-Policy": "frame-ancestors 'none'",  # the page itself says the rest
    "Referrer-Policy": "no-referrer",  # the address is the secret
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


class Site:
    """One run, served.

    Args:
        model: What the page draws.
        moments: The run's.
        shared: Whether others may see it, by secret.

    Attributes:
        app: The ASGI application.
        presenter: Where the page is, for who moves the step.
        viewer: Where it is for the class; None where it is not shared.
    """

    def __init__(self, model: dict[str, Any], moments: Moments, *, shared: bool = False) -> None:
        self._model, self._moments = model, moments
        self._secrets = {role: secrets.token_urlsafe(9) for role in ("presenter", "viewer")} if shared else {}
        self.presenter = f"/{self._secrets['presenter']}/" if shared else "/"
        self.viewer = f"/{self._secrets['viewer']}/" if shared else None
        self._pages: dict[str, str] = {}
        self._now: dict[str, Any] = {"step": 1, "address": "", "size": _DEFAULT_SIZE}
        prefix = "/{secret}" if shared else ""
        routes = [
            Route(f"{prefix}/", self._guarded(self._page)),
            Route(f"{prefix}/step", self._guarded(self._step)),
            Route(f"{prefix}/memory", self._guarded(self._memory)),
        ]
        if shared:
            routes.append(Route(f"{prefix}/now", self._guarded(self._where), methods=["GET", "POST"]))
            routes.append(Route("/", self._guarded(self._page)))  # which lacks the secret
        self.app = Starlette(routes=routes, exception_handlers={HTTPException: _refusal})

    # --- who ----------------------------------------------------------------------------------------

    def _guarded(
        self, answer: Callable[[Request, str], Response]
    ) -> Callable[[Request], Awaitable[Response]]:
        """An endpoint for those who may; one request after another, since there is one machine."""

        async def endpoint(request: Request) -> Response:
            role = self._role(request)
            try:
                response = answer(request, role)
            except NoMoment as error:
                raise HTTPException(404, str(error)) from None
            except ValueError as error:
                raise HTTPException(400, str(error)) from None
            response.headers.update(_HEADERS)
            return response

        return endpoint

    def _role(self, request: Request) -> str:
        if not self._secrets:
            host = request.headers.get("host", "")
            if host not in _LOCAL and host.rpartition(":")[0] not in _LOCAL:
                raise HTTPException(403, "this page is for localhost; use --share to show it to others")
            return "alone"
        given = request.path_params.get("secret", "").encode()
        for role, secret in self._secrets.items():
            if secrets.compare_digest(given, secret.encode()):
                return role
        raise HTTPException(403, "this address lacks the secret: ask who shares the page for all of it")

    # --- answers ------------------------------------------------------------------------------------

    def _page(self, request: Request, role: str) -> Response:
        if role not in self._pages:
            self._pages[role] = page(self._model, live={"role": role, "steps": len(self._moments)})
        return HTMLResponse(self._pages[role])

    def _step(self, request: Request, role: str) -> Response:
        return JSONResponse(self._moments.step(_number(request, "step")))

    def _memory(self, request: Request, role: str) -> Response:
        size = _number(request, "size", _DEFAULT_SIZE)
        return JSONResponse(self._moments.memory(_number(request, "step"), _place(request), size))

    def _where(self, request: Request, role: str) -> Response:
        """Where the presenter is; a POST of the presenter's goes there."""
        if request.method == "POST":
            if role != "presenter":
                raise HTTPException(403, "only the presenter moves the step")
            now = {
                "step": _number(request, "step"),
                "address": _place(request),
                "size": _number(request, "size", _DEFAULT_SIZE),
            }
            self._moments.step(now["step"])  # there is one
            self._now = now
        return JSONResponse(self._now)


def _number(request: Request, name: str, default: int | None = None) -> int:
    """A number of the query.

    Raises:
        ValueError: It is none.
    """
    text = request.query_params.get(name)
    if text is None and default is not None:
        return default
    if text is None or len(text) > _LONGEST_NUMBER or not (text.isascii() and text.isdigit()):
        raise ValueError(f"{name} must be a number")
    return int(text)


def _place(request: Request) -> str:
    """The address of the query, or "".

    Raises:
        ValueError: It is too long for one.
    """
    text = request.query_params.get("address", "").strip()
    if len(text) > _LONGEST_PLACE:
        raise ValueError(f"an address or a symbol's name has at most {_LONGEST_PLACE} characters")
    return text


def _refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    headers = {**_HEADERS, **(error.headers or {})}
    return JSONResponse({"error": error.detail}, error.status_code, headers=headers)
