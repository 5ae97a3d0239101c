"""The owner's password: kept as scrypt of it (RFC 7914), asked for at a bounded rate."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from lightcl_edge.errors import StateError, UsageError
from lightcl_edge.files.durable import replace_durably
from lightcl_edge.files.records import hexadecimal, read_record
from lightcl_edge.files.strict_json import read_json
from lightcl_edge.serve.records.rules import within

SHORTEST, LONGEST = 8, 256
_NAME = "password.json"
#: 16 MiB and a tenth of a second on a Raspberry Pi.
_COST, _BLOCK, _LANES = 2**14, 8, 1
_MEMORY_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Password:
    """The content of ``password.json``."""

    salt: Annotated[str, hexadecimal(32)]
    scrypt: Annotated[str, hexadecimal(64)]
    cost: Annotated[int, within(2**14, 2**17)] = _COST

    def matches(self, word: str) -> bool:
        """Whether this is the password; takes the memory and the time that scrypt is made to take."""
        return hmac.compare_digest(self.scrypt, _scrypt(word, bytes.fromhex(self.salt), self.cost))


def _scrypt(word: str, salt: bytes, cost: int) -> str:
    data = word.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(data, salt=salt, n=cost, r=_BLOCK, p=_LANES, maxmem=_MEMORY_BYTES, dklen=32).hex()


def write_password(folder: Path, word: str) -> None:
    """Set the password. Raises UsageError when it is too short or too long."""
    if not SHORTEST <= len(word) <= LONGEST:
        raise UsageError(f"the password has {len(word)} characters, expected {SHORTEST} to {LONGEST}")
    salt = secrets.token_bytes(16)
    content = json.dumps(asdict(Password(salt.hex(), _scrypt(word, salt, _COST))))
    replace_durably(folder / _NAME, content.encode())


def read_password(folder: Path) -> Password | None:
    """The password's record; None when none was set. Raises StateError when it is damaged: nobody gets in then."""
    path = folder / _NAME
    if not path.exists():
        return None
    try:
        return read_record(Password, read_json(path), "", ValueError, complete=True)
    except (OSError, ValueError) as error:
        raise StateError(f"{path} is damaged ({error}); set the password again with serve --set-password") from error


class PasswordCheck:
    """Compares words with the password, one at a time, so that scrypt's memory is taken once."""

    def __init__(self, password: Password) -> None:
        self._password, self._lock = password, threading.Lock()
        self._secret = secrets.token_bytes(32)
        self._known: bytes | None = None  # keyed hash of the right word, so that programs need not pay scrypt each time

    def is_known(self, word: str) -> bool:
        """Whether the word was found right before; costs nothing."""
        return self._known is not None and hmac.compare_digest(self._known, self._mark(word))

    def matches(self, word: str) -> bool:
        """Whether the word is the password."""
        if len(word) > LONGEST:
            return False
        with self._lock:
            right = self._password.matches(word)
            self._known = self._mark(word) if right else self._known
        return right

    def _mark(self, word: str) -> bytes:
        return hmac.digest(self._secret, word.encode("utf-8", "surrogatepass"), "sha256")
