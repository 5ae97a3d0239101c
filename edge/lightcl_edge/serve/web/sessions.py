"""Sessions in a signed cookie, and the tokens that prove that a request comes from our own page."""

from __future__ import annotations

import hmac
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

from lightcl_edge.files.durable import replace_durably

COOKIE = "lightcl_session"
LASTS_SECONDS = 30 * 24 * 3600
_NAME = "secret"
_SECRET_BYTES = 32
_LONGEST_COOKIE = 200


class Sessions:
    """Signs with a secret that is kept in the state; a new secret or another password ends all sessions.

    Args:
        password: any text that changes with the password; empty where none is asked for.
    """

    def __init__(self, folder: Path, password: str, clock: Callable[[], float] = time.time) -> None:
        self._path, self._password, self._clock = folder / _NAME, password, clock
        self._key = self._derive(self._read() or self._renew())

    def _read(self) -> bytes | None:
        try:
            found = self._path.read_bytes()
        except OSError:
            return None
        return found if len(found) == _SECRET_BYTES else None

    def _renew(self) -> bytes:
        secret = secrets.token_bytes(_SECRET_BYTES)
        replace_durably(self._path, secret)
        return secret

    def _derive(self, secret: bytes) -> bytes:
        return hmac.digest(secret, self._password.encode(), "sha256")

    def end_all(self) -> None:
        """Sign everybody out."""
        self._key = self._derive(self._renew())

    def new(self) -> str:
        """The value of a new session's cookie."""
        content = f"{int(self._clock()) + LASTS_SECONDS}.{secrets.token_urlsafe(16)}"
        return f"{content}.{self._sign('session', content)}"

    def is_valid(self, cookie: str) -> bool:
        """Whether we made this cookie, not too long ago."""
        content, _, signature = cookie[:_LONGEST_COOKIE].rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign("session", content).encode()):
            return False
        return int(content.partition(".")[0]) > self._clock()

    def token(self, cookie: str) -> str:
        """What our page sends along with a session's requests that change something."""
        return self._sign("page", cookie)

    def is_token(self, token: str, cookie: str) -> bool:
        """Whether it is the token of this session."""
        return hmac.compare_digest(token.encode("utf-8", "replace"), self.token(cookie).encode())

    def _sign(self, purpose: str, content: str) -> str:
        data = f"{purpose}:{content}".encode("utf-8", "replace")
        return urlsafe_b64encode(hmac.digest(self._key, data, "sha256")).decode().rstrip("=")
