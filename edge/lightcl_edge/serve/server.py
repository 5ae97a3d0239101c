"""Brings the server up: address, certificate, sockets, and an orderly end."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import uvicorn

from lightcl_edge.errors import UsageError
from lightcl_edge.serve.app import make_app, make_gate
from lightcl_edge.serve.options import ServeOptions
from lightcl_edge.serve.service import Service
from lightcl_edge.serve.sources.opening import open_source
from lightcl_edge.serve.systemd import notify, watchdog_seconds
from lightcl_edge.serve.web.connections import PatientProtocol
from lightcl_edge.serve.web.hosts import is_loopback
from lightcl_edge.serve.web.passwords import read_password

#: Requests that run when the server ends get so long to be done.
_GRACE_SECONDS = 3
_LARGEST_HEAD_BYTES = 16 * 1024
_BACKLOG = 128


@dataclass(frozen=True)
class Certificate:
    """PEM files of a certificate and its key."""

    certificate: Path
    key: Path


def serve(options: ServeOptions, say: Callable[[str], None]) -> str:
    """Serve until SIGTERM or Ctrl-C; gives the address. ``say`` is told where the page is.

    Raises UsageError when the address can't be used, or would let in anybody who reaches it; and LightclError when
    state, bundle or source can't be used.
    """
    _refuse_open_door(options)
    options.folder.mkdir(parents=True, exist_ok=True)
    options.folder.chmod(0o700)
    certificate = _certificate(options)
    listening = _listen(options)
    address = _address(options, listening, certificate)
    source = open_source(options.source)
    try:
        service = Service(options, source)
        app = make_app(service, make_gate(options, secure=certificate is not None))
        config = uvicorn.Config(
            app,
            http=PatientProtocol,
            ws="none",
            loop="asyncio",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_SECONDS,
            h11_max_incomplete_event_size=_LARGEST_HEAD_BYTES,
            ssl_certfile=certificate.certificate if certificate else None,
            ssl_keyfile=certificate.key if certificate else None,
        )
        logging.getLogger("uvicorn").setLevel(logging.ERROR)  # what strangers send is no news
        logging.getLogger("uvicorn.error").addFilter(_is_news)
        _tell(say, address, certificate)
        Server(config, service).run([listening])
    except KeyboardInterrupt:
        pass  # uvicorn has ended everything in order, and repeats the signal
    finally:
        source.close()
        listening.close()
    return address


class Server(uvicorn.Server):
    """uvicorn, which tells systemd how it is, and ends endless answers before it waits for the others."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service
        self._signs_of_life: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        notify("READY=1")
        if (seconds := watchdog_seconds()) is not None:
            self._signs_of_life = asyncio.create_task(_sign_of_life(seconds / 2))

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        notify("STOPPING=1")
        self._service.hub.close()
        if self._signs_of_life is not None:
            self._signs_of_life.cancel()
        await super().shutdown(sockets)


def _is_news(record: logging.LogRecord) -> bool:
    """Requests that the end of the server cuts off are none."""
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, asyncio.CancelledError) and not record.getMessage().startswith("Cancel ")


async def _sign_of_life(seconds: float) -> None:
    while True:
        notify("WATCHDOG=1")
        await asyncio.sleep(seconds)


def _refuse_open_door(options: ServeOptions) -> None:
    if (options.certificate is None) != (options.key is None):
        raise UsageError("--cert and --key belong together; name both, or none")
    if not is_loopback(options.host) and read_password(options.folder) is None:
        raise UsageError(
            f"{options.host} can be reached by others, and no password is set; set one with "
            f"lightcl-edge serve --state {options.state} --set-password, or listen on 127.0.0.1"
        )


def _certificate(options: ServeOptions) -> Certificate | None:
    """The given certificate, or one of our own where others can listen in."""
    if options.certificate is not None and options.key is not None:
        return Certificate(options.certificate, options.key)
    if is_loopback(options.host) or options.plain:
        return None
    from lightcl_edge.serve.web.tls import own_certificate

    return Certificate(*own_certificate(options.folder / "tls", options.host, options.names))


def _listen(options: ServeOptions) -> socket.socket:
    where = f"{options.host}:{options.port}"
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind)
    except OSError as error:
        raise UsageError(f"--listen {where} is no address of this machine ({error})") from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(_BACKLOG)
    except OSError as error:
        listening.close()
        raise UsageError(f"can't listen on {where} ({error.strerror}); choose another --listen ADDRESS:PORT") from error
    return listening


def _address(options: ServeOptions, listening: socket.socket, certificate: Certificate | None) -> str:
    """The page's address, as a person opens it."""
    port = listening.getsockname()[1]
    host = socket.gethostname() if options.host in ("0.0.0.0", "::") else options.host  # noqa: S104 - compared only
    host = f"[{host}]" if ":" in host else host
    return f"{'https' if certificate else 'http'}://{host}:{port}/"


def _tell(say: Callable[[str], None], address: str, certificate: Certificate | None) -> None:
    say(f"open {address} in a browser; Ctrl-C ends it")
    if certificate is not None:
        from lightcl_edge.serve.web.tls import fingerprint

        say(f"the certificate's SHA-256 fingerprint is {fingerprint(certificate.certificate)}")
