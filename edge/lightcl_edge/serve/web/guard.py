"""Who may come in: every request passes here first."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lightcl_edge.serve.web.faults import fault
from lightcl_edge.serve.web.hosts import KnownHosts
from lightcl_edge.serve.web.limits import Rate, client_of
from lightcl_edge.serve.web.passwords import PasswordCheck
from lightcl_edge.serve.web.sessions import COOKIE, Sessions

#: The largest request; a picture of a good phone is smaller.
MAX_BODY_BYTES = 16 * 2**20
_READ_ONLY = ("GET", "HEAD", "OPTIONS")
_OPEN_PATHS = ("/login", "/static/", "/favicon.ico")
_POLICY = (
    "default-src 'none'; img-src 'self' blob: data:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "form-action 'self'; manifest-src 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # without one, browsers hide the origin of our own forms too
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


@dataclass
class Gate:
    """What the guard decides by.

    Attributes:
        password: None where no password is asked for.
        requests: each client's rate of requests that cost something.
        attempts: each client's rate of wrong passwords; ``all_attempts`` that of all clients together.
    """

    hosts: KnownHosts
    sessions: Sessions
    password: PasswordCheck | None
    secure: bool  # over TLS
    requests: Rate
    attempts: Rate
    all_attempts: Rate

    async def try_password(self, client: str, word: str) -> tuple[bool, int]:
        """Whether the word is right, and the seconds to wait when there were too many wrong ones."""
        if self.password is None or self.password.is_known(word):
            return True, 0
        wait = self.attempts.wait_seconds(client) or self.all_attempts.wait_seconds("all")
        if wait:
            return False, wait
        right = await run_in_threadpool(self.password.matches, word)
        if right:
            self.attempts.give_back(client)
            self.all_attempts.give_back("all")
        return right, 0


class Guard:
    """Checks host, size, rate, password and origin of each request, and adds headers to each answer."""

    def __init__(self, app: ASGIApp, gate: Gate) -> None:
        self._app, self._gate = app, gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        guarded = self._with_headers(send, scope["path"])
        refusal = await self._refusal(scope)
        if refusal is not None:
            await refusal(scope, receive, guarded)
            return
        await self._app(scope, receive, guarded)

    async def _refusal(self, scope: Scope) -> Response | None:
        gate, headers = self._gate, Headers(scope=scope)
        scope["client_name"] = client = client_of((scope.get("client") or ("", 0))[0])
        if not gate.hosts.allow(headers.get("host", "")):
            return fault(403, "HostError", "this machine is not known by that name; serve --name NAME adds one")
        if _declared_size(headers) > MAX_BODY_BYTES:
            return fault(
                413, "TooLargeError", f"the request is larger than {MAX_BODY_BYTES} bytes", {"connection": "close"}
            )
        cookie = _cookie(headers)
        scope["session"] = cookie if gate.password is not None else ""
        if scope["method"] not in _READ_ONLY:
            if not _is_from_here(headers):
                return fault(403, "OriginError", "the request comes from another page")
            wait = gate.requests.wait_seconds(client)
            if wait:
                return _too_many(wait)
        if scope["path"].startswith(_OPEN_PATHS):
            return None
        return await self._who(scope, headers, client, cookie)

    async def _who(self, scope: Scope, headers: Headers, client: str, cookie: str) -> Response | None:
        gate = self._gate
        by_program = False
        if gate.password is not None and not (cookie and gate.sessions.is_valid(cookie)):
            word = _basic_password(headers.get("authorization", ""))
            if word is None:
                return _ask(scope)
            right, wait = await gate.try_password(client, word)
            if wait:
                return _too_many(wait)
            if not right:
                return fault(401, "PasswordError", "the password is wrong")
            by_program = True
        if scope["method"] in _READ_ONLY or not (_is_browser(headers) or (cookie and not by_program)):
            return None
        if gate.sessions.is_token(headers.get("x-page-token", ""), scope["session"]):
            return None
        return fault(403, "TokenError", "the page is too old; load it again")

    def _with_headers(self, send: Send, path: str) -> Send:
        async def wrapped(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if not path.startswith("/static/"):
                    headers.setdefault("cache-control", "no-store")
                if self._gate.secure:
                    headers["strict-transport-security"] = "max-age=31536000"
            await send(message)

        return wrapped


def _declared_size(headers: Headers) -> int:
    text = headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else MAX_BODY_BYTES + 1


def _cookie(headers: Headers) -> str:
    try:
        found = SimpleCookie(headers.get("cookie", "")[:4096]).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _is_from_here(headers: Headers) -> bool:
    """Whether a browser says that the request comes from our own page; programs say nothing."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == headers.get("host", "").lower()


def _is_browser(headers: Headers) -> bool:
    return "origin" in headers or "sec-fetch-site" in headers


def _basic_password(header: str) -> str | None:
    """The password of an ``Authorization: Basic`` header; the name before it does not matter."""
    kind, _, value = header.partition(" ")
    if kind.lower() != "basic" or len(value) > 1024:
        return None
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None


def _ask(scope: Scope) -> Response:
    if scope["method"] == "GET" and scope["path"] == "/":
        return RedirectResponse("/login", 303)
    return fault(401, "PasswordError", "a password is needed")


def _too_many(wait_seconds: int) -> Response:
    message = f"too many requests; try again in {wait_seconds} s"
    return fault(429, "RateError", message, {"retry-after": str(wait_seconds)})
