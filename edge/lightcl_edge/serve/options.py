"""What a user may ask of the server."""

import socket
from dataclasses import dataclass, field
from pathlib import Path

from lightcl_edge.machine.description import usable_cores
from lightcl_edge.serve.mqtt.options import MqttOptions

#: Frames that wait for a label take at most this much memory or disk.
DEFAULT_QUEUE_BYTES = 16 * 2**20
DEFAULT_ADDRESS = "127.0.0.1:8765"


@dataclass(frozen=True)
class ServeOptions:
    """The command line.

    Attributes:
        bundle: needed until the state has learned something.
        source: as ``open_source`` reads it.
        host, port: where to listen; port 0 takes a free one.
        names: more names by which browsers may call this machine.
        certificate, key: PEM files; None to make one's own where one is needed.
        plain: no TLS even beyond this machine, because something in front of it has it.
        keep_frames: keep learned pictures; else only their features stay.
        keep_waiting: folder for frames that wait for a label; None keeps them in memory.
        train_arguments: more options for ``lightcl-edge train``.
        board_name: as Home Assistant calls it.
    """

    state: Path
    bundle: Path | None = None
    source: str = "none"
    host: str = "127.0.0.1"
    port: int = 8765
    names: list[str] = field(default_factory=list)
    certificate: Path | None = None
    key: Path | None = None
    plain: bool = False
    keep_frames: bool = False
    keep_waiting: Path | None = None
    queue_bytes: int = DEFAULT_QUEUE_BYTES
    threads: int | None = None
    train_arguments: list[str] = field(default_factory=list)
    mqtt: MqttOptions | None = None
    board_name: str = field(default_factory=socket.gethostname)

    @property
    def predicting_threads(self) -> int:
        """Processors for trunk and head; of several, one is left for decoding frames and answering pages."""
        return self.threads or max(1, usable_cores() - 1)

    @property
    def folder(self) -> Path:
        """Where the server keeps its own things, in the state."""
        return self.state / "serve"
