"""``lightcl-edge watch``."""

import argparse
import shlex
from pathlib import Path

from lightcl_edge.commands.arguments import add_bundle, add_cooling, add_state, cooling_limit, positive, seconds
from lightcl_edge.console.program import Command, build_parser
from lightcl_edge.console.text import Document, count
from lightcl_edge.errors import UsageError

_OWN_OPTIONS = (
    "--state",
    "--data",
    "--bundle",
    "--json",
    "--quiet",
    "--dry-run",
    "--progress-json",
    "--from-generation",
)


class WatchCommand(Command):
    """Learn a folder of labelled images as it fills.

    DIR has one sub-folder a class: put images there. A file that stayed unchanged for --settle seconds is moved to
    DIR/.learning and learned in a batch. Then it is in DIR/.learned, by generation. It is in DIR/.set-aside if it can't
    be read or the gate refused its batch. Restarts, kills and power cuts lose no image and learn none twice. Ctrl-C
    and SIGTERM stop it with exit code 0. docs/owners/watch.md has a systemd unit with a memory limit.
    """

    name = "watch"
    example = "lightcl-edge watch spool/ --bundle bundle --state state --train '--epochs 3 --memory-budget 200MiB'"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, metavar="DIR", help="the folder to watch")
        add_state(parser)
        add_bundle(parser)
        parser.add_argument("--min-images", type=positive, default=32, metavar="N", help="images a batch (default: 32)")
        parser.add_argument(
            "--max-wait",
            type=seconds,
            default=300.0,
            metavar="S",
            help="seconds after which fewer will do (default: 300)",
        )
        parser.add_argument(
            "--settle", type=seconds, default=2.0, metavar="S", help="seconds a file must stay unchanged (default: 2)"
        )
        parser.add_argument(
            "--interval", type=seconds, default=5.0, metavar="S", help="seconds between two looks (default: 5)"
        )
        parser.add_argument("--once", action="store_true", help="learn what is there, then end")
        parser.add_argument("--delete-learned", action="store_true", help="keep no copy of learned images")
        add_cooling(parser)
        parser.add_argument("--train", default="", metavar="OPTIONS", help="options for lightcl-edge train, in quotes")

    def run(self, args: argparse.Namespace) -> Document:
        from lightcl_edge.data.spool import Spool
        from lightcl_edge.learning.watcher import Watcher, WatchOptions

        more = train_options(args.train)
        if (limit := cooling_limit(args)) is not None:
            more += ["--cool-at", str(limit)]
        if args.bundle:
            more += ["--bundle", str(args.bundle)]
        options = WatchOptions(
            state=args.state,
            train_arguments=more,
            minimum_images=args.min_images,
            longest_wait_seconds=args.max_wait,
            interval_seconds=max(0.05, args.interval),
            once=args.once,
            delete_learned=args.delete_learned,
        )
        return Watcher(Spool(args.folder, args.settle), options, args.progress).run()

    def render(self, document: Document) -> str:
        known = f"generation {document['generation']} knows {count(len(document['classes']), 'class')}"
        if not document["classes"]:
            known = "the state knows no class yet"
        parts = [
            f"{count(document['images'], 'image')} learned in {count(document['batches'], 'round')}"
            if document["images"]
            else "nothing was learned"
        ]
        for name, words in (("known_images", "known before"), ("set_aside_images", "set aside")):
            if document[name]:
                parts.append(f"{document[name]} {words}")
        if document["unfinished_images"]:
            parts.append(f"{document['unfinished_images']} go on with the next start")
        return f"{', '.join(parts)}; {known}"


def train_options(text: str) -> list[str]:
    """The words of ``--train "..."``. Raises UsageError for what ``lightcl-edge train`` would refuse."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--train {text!r}: {error}; expected options as on a command line") from error
    for word in words:
        if word.split("=")[0] in _OWN_OPTIONS:
            raise UsageError(f"--train sets {word}, which this command itself does; expected other options")
    _check_train_options(words)
    return words


def _check_train_options(options: list[str]) -> None:
    """Refuse what ``lightcl-edge train`` would refuse, before any image is touched."""
    from lightcl_edge.commands.train import TrainCommand

    parser = build_parser("lightcl-edge", "", [TrainCommand()])
    try:
        parser.parse_args(["train", "--state", "state", "--data", "data", *options])
    except UsageError as error:
        raise UsageError(f"--train: {error}") from error
    except SystemExit as error:  # --help and --version end a program
        raise UsageError(f"--train {shlex.join(options)!r} asks for help; expected options of a training") from error
