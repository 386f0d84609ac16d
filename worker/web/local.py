"""Who may see the operator's pages while there is no login: a browser on this machine, and no other site through it."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
REFUSED = (
    "The dashboard has no login yet, so it is only shown to a browser on the machine it runs on, asked for by a "
    "loopback address. From elsewhere: ssh -L 8080:127.0.0.1:8080 to that machine.\n"
)

Page = Callable[[Request], Response]


def only_here(page: Page) -> Page:
    """The page, for a browser on this machine: no proxy in between, and no name that somebody else's DNS resolves."""

    def guarded(request: Request) -> Response:
        return page(request) if is_here(request) else PlainTextResponse(REFUSED, 403)

    return guarded


def is_here(request: Request) -> bool:
    direct = not any(name in request.headers for name in FORWARDED)
    named = is_loopback(urlsplit(f"//{request.headers.get('host', '')}").hostname)
    return direct and named and is_loopback(request.client.host if request.client else None)


def is_loopback(host: str | None) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


class Forms:
    """Tells a form of our own pages from one that another site made the browser send; good while the process lives."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def token(self, act: str) -> str:
        return hmac.digest(self._key, act.encode(), "sha256").hex()

    def ours(self, request: Request, act: str, token: str) -> bool:
        """Is this our form for this act? Browsers say where a form comes from; the token is asked for in any case."""
        site = request.headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")
        return site and hmac.compare_digest(token.encode(), self.token(act).encode())
