"""``lightcl-edge serve``."""

import argparse
import getpass
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lightcl_edge.commands.arguments import add_bundle, add_state
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, parse_bytes
from lightcl_edge.errors import UsageError

if TYPE_CHECKING:
    from lightcl_edge.serve.mqtt.options import MqttOptions

_ADDRESS = "127.0.0.1:8765"


class ServeCommand(Command):
    """Show on a page what the board sees, let its owner teach it there, and learn.

    SRC is v4l2:/dev/video0, picamera, rtsp://CAMERA/STREAM, folder:DIR, a video file, or none: then the page and
    programs send pictures. The page is open to this machine only. Any other --listen address needs a password
    (--set-password) and gets TLS.
    """

    name = "serve"
    example = "lightcl-edge serve --bundle bundle --state state --source v4l2:/dev/video0"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        add_state(parser)
        add_bundle(parser)
        parser.add_argument("--source", default="none", metavar="SRC", help="where pictures come from (default: none)")
        parser.add_argument(
            "--listen", default=_ADDRESS, metavar="ADDRESS:PORT", help=f"where the page is (default: {_ADDRESS})"
        )
        parser.add_argument(
            "--name", action="append", default=[], metavar="NAME", help="another name by which browsers call this board"
        )
        parser.add_argument("--set-password", action="store_true", help="ask for a new password, keep it, and end")
        parser.add_argument("--cert", type=Path, metavar="PEM", help="certificate for TLS (default: one made here)")
        parser.add_argument("--key", type=Path, metavar="PEM", help="its key")
        parser.add_argument("--no-tls", action="store_true", help="plain HTTP, because a proxy before it has TLS")
        parser.add_argument("--keep-frames", action="store_true", help="keep learned pictures, not only their features")
        parser.add_argument(
            "--keep-waiting",
            type=Path,
            metavar="DIR",
            help="keep frames that wait for a label in a folder, not in memory",
        )
        parser.add_argument(
            "--queue",
            default="16MiB",
            metavar="SIZE",
            help="the most that frames waiting for a label take (default: 16MiB)",
        )
        parser.add_argument("--threads", type=int, help="processors for predictions (default: all but one)")
        parser.add_argument("--train", default="", metavar="OPTIONS", help="options for lightcl-edge train, in quotes")
        parser.add_argument("--mqtt", metavar="URL", help="a broker for Home Assistant, such as mqtt://USER@HOST")
        parser.add_argument("--mqtt-password-file", type=Path, metavar="FILE", help="its password, in one line")
        parser.add_argument("--mqtt-ca", type=Path, metavar="PEM", help="who signed the broker's certificate")
        parser.add_argument("--mqtt-no-pictures", action="store_true", help="send the broker no frames")
        parser.add_argument("--board-name", metavar="NAME", help="for Home Assistant (default: this machine's name)")
        parser.add_argument("--print-unit", action="store_true", help="print a systemd unit for this command, and end")

    def run(self, args: argparse.Namespace) -> Document:
        if args.set_password:
            return _set_password(args.state)
        if args.print_unit:
            from lightcl_edge.serve.systemd import unit

            folders = [args.state, *([args.keep_waiting] if args.keep_waiting else [])]
            return {"unit": unit([word for word in _words() if word != "--print-unit"], folders)}
        import socket

        from lightcl_edge.serve.options import ServeOptions

        try:
            from lightcl_edge.serve.server import serve
        except ModuleNotFoundError as error:
            raise UsageError(
                f"serve needs the Python package {error.name!r}; install it with: pip install 'lightcl-edge[serve]'"
            ) from error

        host, port = _host_and_port(args.listen)
        options = ServeOptions(
            state=args.state,
            bundle=args.bundle,
            source=args.source,
            host=host,
            port=port,
            names=args.name,
            certificate=args.cert,
            key=args.key,
            plain=args.no_tls,
            keep_frames=args.keep_frames,
            keep_waiting=args.keep_waiting,
            queue_bytes=parse_bytes(args.queue),
            threads=args.threads,
            train_arguments=_train_options(args.train),
            mqtt=_mqtt(args),
            board_name=args.board_name or socket.gethostname(),
        )
        return {"address": serve(options, args.progress.note)}

    def render(self, document: Document) -> str:
        if "unit" in document:
            return str(document["unit"]).rstrip()
        return (
            "the password is set; a server that runs asks for it after a restart"
            if "password" in document
            else "ended; nothing is lost"
        )


def _words() -> list[str]:
    """The command line without the program and the command."""
    words = sys.argv[1:]
    return words[words.index("serve") + 1 :] if "serve" in words else words


def _set_password(state: Path) -> Document:
    from lightcl_edge.files.durable import make_folders
    from lightcl_edge.serve.web.passwords import write_password

    if sys.stdin.isatty():
        word = getpass.getpass("new password for the page: ")
        if word != getpass.getpass("the same again: "):
            raise UsageError("the two passwords differ; nothing was changed")
    else:
        word = sys.stdin.readline().rstrip("\n")
    folder = state / "serve"
    make_folders(folder)
    folder.chmod(0o700)
    write_password(folder, word)
    return {"password": "set"}


def _host_and_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not (colon and host and port.isascii() and port.isdecimal() and int(port) < 2**16):
        raise UsageError(f"--listen is {text!r}, expected ADDRESS:PORT, such as {_ADDRESS} or 0.0.0.0:8765")
    return host, int(port)


def _mqtt(args: argparse.Namespace) -> "MqttOptions | None":
    from lightcl_edge.serve.mqtt.options import mqtt_options

    if args.mqtt is None:
        if args.mqtt_password_file or args.mqtt_ca:
            raise UsageError("--mqtt-password-file and --mqtt-ca are of a broker; name it with --mqtt")
        return None
    return mqtt_options(args.mqtt, args.mqtt_password_file, args.mqtt_ca, pictures=not args.mqtt_no_pictures)


def _train_options(text: str) -> list[str]:
    from lightcl_edge.commands.watch import train_options

    return train_options(text)
