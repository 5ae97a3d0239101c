"""The page itself, its files, and the way in and out."""

from __future__ import annotations

import gzip
import hashlib
from contextlib import suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from lightcl_edge.errors import LightclError
from lightcl_edge.serve.web.bodies import read_body
from lightcl_edge.serve.web.faults import fault
from lightcl_edge.serve.web.guard import Gate
from lightcl_edge.serve.web.operations import answer
from lightcl_edge.serve.web.sessions import COOKIE, LASTS_SECONDS

_KINDS = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".json": "application/manifest+json"}
_A_YEAR = "public, max-age=31536000, immutable"
_MAX_FORM_BYTES = 4096


def _folder(name: str) -> Path:
    return Path(str(files("lightcl_edge.serve") / name))


@cache
def _static() -> dict[str, bytes]:
    """Every file that pages may ask for, by name."""
    return {path.name: path.read_bytes() for path in sorted(_folder("static").iterdir()) if path.suffix in _KINDS}


@cache
def _packed(name: str) -> bytes:
    return gzip.compress(_static()[name], mtime=0)


@cache
def _version() -> str:
    digest = hashlib.sha256()
    for name, content in _static().items():
        digest.update(name.encode() + content)
    return digest.hexdigest()[:12]


def _render(name: str, **values: Any) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_folder("templates")), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    return environment.get_template(name).render(assets=f"/static/{_version()}", **values)


class Pages:
    """The routes that people see."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self.page),
            Route("/login", self.login, methods=["GET", "POST"]),
            Route("/logout", self.logout, methods=["POST"]),
            Route("/static/{version}/{name}", self.static),
            Route("/favicon.ico", self.icon),
        ]

    async def page(self, request: Request) -> Response:
        token = self._gate.sessions.token(request.scope["session"])
        modules = [name for name in _static() if name.endswith(".js") and name != "app.js"]
        locked, status = self._gate.password is not None, await _status(request)
        return _html(_render("page.html", token=token, has_password=locked, modules=modules, status=status))

    async def login(self, request: Request) -> Response:
        gate = self._gate
        if gate.password is None:
            return RedirectResponse("/", 303)
        if request.method != "POST":
            return _html(_render("login.html", problem=""))
        form = parse_qs((await read_body(request, _MAX_FORM_BYTES)).decode("utf-8", "replace"), max_num_fields=4)
        right, wait = await gate.try_password(request.scope["client_name"], form.get("password", [""])[0])
        if not right:
            problem = f"Too many tries. Wait {wait} seconds." if wait else "That is not the password."
            headers = {"retry-after": str(wait)} if wait else {}
            return _html(_render("login.html", problem=problem), 429 if wait else 401, headers)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(
            COOKIE, gate.sessions.new(), LASTS_SECONDS, httponly=True, samesite="strict", secure=gate.secure
        )
        return answer

    async def logout(self, _request: Request) -> Response:
        """End all sessions, on every device."""
        self._gate.sessions.end_all()
        answer = RedirectResponse("/login", 303)
        answer.delete_cookie(COOKIE)
        return answer

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        content = _static().get(name)
        if content is None:
            return fault(404, "NotFoundError", "there is no such file")
        kept = _A_YEAR if request.path_params["version"] == _version() else "no-cache"
        headers = {"cache-control": kept, "vary": "accept-encoding"}
        if "gzip" in request.headers.get("accept-encoding", ""):
            content, headers["content-encoding"] = _packed(name), "gzip"
        return Response(content, media_type=_KINDS[Path(name).suffix], headers=headers)

    async def icon(self, _request: Request) -> Response:
        return RedirectResponse(f"/static/{_version()}/icon.svg", 301)


async def _status(request: Request) -> str:
    """The first status as JSON, which spares a slow network a round trip; null when there is none now."""
    with suppress(LightclError, OSError):
        return bytes(answer(await run_in_threadpool(request.app.state.service.status)).body).decode()
    return "null"


def _html(text: str, code: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(text, code, headers, "text/html")
