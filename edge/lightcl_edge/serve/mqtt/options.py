"""Which MQTT broker, and how to get in."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from lightcl_edge.errors import UsageError

PASSWORD_VARIABLE = "LIGHTCL_MQTT_PASSWORD"  # noqa: S105 - its name, not its content
_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True)
class MqttOptions:
    """A broker.

    Attributes:
        tls: encrypted, and the broker must prove by its certificate that it is ``host``.
        authority: PEM file of who signed that certificate; None for those whom the system trusts.
        pictures: whether the newest frame is sent too.
        discovery: the first part of the topics at which Home Assistant looks for devices.
    """

    host: str
    port: int = 1883
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: bool = False
    authority: Path | None = None
    pictures: bool = True
    discovery: str = "homeassistant"


def mqtt_options(
    url: str,
    password_file: Path | None = None,
    authority: Path | None = None,
    *,
    pictures: bool = True,
    environment: Mapping[str, str] = os.environ,
) -> MqttOptions:
    """Read ``mqtt://USER@HOST:PORT``, or ``mqtts://`` for TLS, and the password from a file or the environment.

    Raises UsageError when the address is none, holds the password, or a file can't be read.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in _PORTS or not host or parts.path.strip("/") or parts.query or parts.fragment:
        raise UsageError(f"--mqtt is {_without_password(url)!r}, expected mqtt://USER@HOST, or mqtts:// for TLS")
    if parts.password is not None:
        raise UsageError(
            "--mqtt holds a password, which other users of this machine could read; expected mqtt://USER@HOST and the "
            f"password in a file (--mqtt-password-file) or in the variable {PASSWORD_VARIABLE}"
        )
    tls = parts.scheme == "mqtts"
    if authority is not None and not (tls and authority.is_file()):
        raise UsageError(f"--mqtt-ca is {authority}, expected a PEM file, and an address that begins with mqtts://")
    user = unquote(parts.username) if parts.username else None
    password = environment.get(PASSWORD_VARIABLE) if password_file is None else _read(password_file)
    if password is not None and user is None:
        raise UsageError("found an MQTT password but no user; expected mqtt://USER@HOST")
    return MqttOptions(host, port or _PORTS[parts.scheme], user, password, tls, authority, pictures)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--mqtt-password-file {path} can't be read ({error}); expected one line of text") from error


def _without_password(url: str) -> str:
    return url if "@" not in url else f"...@{url.rpartition('@')[2]}"
