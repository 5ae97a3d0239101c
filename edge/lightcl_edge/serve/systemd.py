"""What systemd is told, and the unit that starts the server: see sd_notify(3) and systemd.service(5)."""

from __future__ import annotations

import os
import re
import socket
import sys
from contextlib import suppress
from pathlib import Path


def notify(message: str) -> None:
    """Tell systemd, if it started us: ``READY=1``, ``WATCHDOG=1``, ``STOPPING=1``."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address[:1] not in ("/", "@"):
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
        channel.sendto(message.encode(), target)


def watchdog_seconds() -> float | None:
    """How often systemd wants a sign of life at least; None when it wants none."""
    text, pid = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID", str(os.getpid()))
    return int(text) / 1e6 if text.isdecimal() and int(text) and pid == str(os.getpid()) else None


_UNIT = """\
[Unit]
Description=lightcl-edge: see, teach and learn
After=network-online.target
Wants=network-online.target
RequiresMountsFor={folders}

[Service]
Type=notify
WorkingDirectory={here}
ExecStart={command}
WatchdogSec=60
Restart=on-failure
RestartSec=5
# the server alone gets the signal: it passes it on, and the learner keeps its checkpoint
KillMode=mixed
TimeoutStopSec=60
SuccessExitStatus=130
User={user}
# cameras belong to this group
SupplementaryGroups=video
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=read-only
ReadWritePaths={folders}
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""


def unit(words: list[str], folders: list[Path]) -> str:
    """A unit file that starts ``lightcl-edge serve`` with these words, in the present folder.

    It may write to ``folders``, and nowhere else. Where one is missing, to the nearest above it, to make it there.
    """
    program = [sys.executable, "-m", "lightcl_edge", "serve", *words]
    return _UNIT.format(
        command=" ".join(_quoted(word.replace("$", "$$")) for word in program),
        folders=" ".join(_quoted(str(_existing(folder))) for folder in folders),
        here=str(Path.cwd()).replace("%", "%%"),
        user=os.environ.get("SUDO_USER") or os.environ.get("USER") or "pi",
    )


def _quoted(word: str) -> str:
    """A word as systemd reads it, see "Quoting" and "Specifiers" in systemd.syntax(7) and systemd.unit(5)."""
    text = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("\n", "\\n")
    return text if re.fullmatch(r"[\w@+=:,./$%-]+", text, re.ASCII) else f'"{text}"'


def _existing(folder: Path) -> Path:
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())
