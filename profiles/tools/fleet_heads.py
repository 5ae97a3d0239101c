"""``python profiles/tools/fleet_heads.py``: what federated averaging of the head adds to exact sums."""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, format_bytes
from lightcl_edge.errors import UsageError
from lightcl_edge.files.tensors import FloatArray
from lightcl_edge.fleet.knowledge import network_hash
from lightcl_edge.fleet.member import Member
from lightcl_edge.machine.child_command import run_command as run_child
from lightcl_host.fleet.head_rounds import HeadRounds
from lightcl_host.fleet.rounds import MERGE, Packet, Round
from lightcl_host.fleet.store import Network
from one_command import run_command


class FleetHeadsCommand(Command):
    """Boards with two classes each merge what they know, then average their heads; both are tested.

    Every step is a command in a process of its own, but without Flower's network. One state that learned all pictures
    with replay stands beside.
    """

    name = "fleet-heads"
    example = "python profiles/tools/fleet_heads.py --bundle bundle --train cifar/train --test cifar/test"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--bundle", type=Path, required=True)
        parser.add_argument("--train", type=Path, required=True, help="folder with one sub-folder a class")
        parser.add_argument("--test", type=Path, required=True)
        parser.add_argument("--boards", type=int, default=10)
        parser.add_argument("--pictures", type=int, default=50, help="of a class on a board (default: 50)")
        parser.add_argument("--test-pictures", type=int, default=100, help="of a class (default: 100)")
        parser.add_argument("--head-rounds", type=int, default=5)

    def run(self, args: argparse.Namespace) -> Document:
        with tempfile.TemporaryDirectory() as folder:
            return _compared(Path(folder), args)

    def render(self, document: Document) -> str:
        return json.dumps(document, indent=1)


class _Boards:
    """Boards in this process, but for their commands."""

    def __init__(self, members: Sequence[Member]) -> None:
        self._members = members

    def nodes(self) -> Sequence[int]:
        return range(len(self._members))

    def ask(self, what: str, packets: Mapping[int, Packet]) -> Mapping[int, Packet | str]:
        if what == MERGE:
            return {node: Packet(self._members[node].merge(packet.files)) for node, packet in packets.items()}
        answers: dict[int, Packet | str] = {}
        for node, packet in packets.items():
            document, head = self._members[node].train_head(packet.files)
            answers[node] = Packet(document, {"head": head} if head else {})
        return answers


def _compared(folder: Path, args: argparse.Namespace) -> Document:
    names = sorted(path.name for path in args.train.iterdir())
    test = _part(args.test, folder / "test", {name: range(args.test_pictures) for name in names})
    members, taken, files = [], dict.fromkeys(names, 0), {}
    for number in range(args.boards):
        pair = names[number % len(names)], names[(number + 1 + number // len(names)) % len(names)]
        chosen = {name: range(taken[name], taken[name] + args.pictures) for name in pair}
        taken.update({name: taken[name] + args.pictures for name in pair})
        _train(folder / str(number), args.bundle, _part(args.train, folder / f"d{number}", chosen), "slda")
        members.append(Member(folder / str(number), name=f"board{number}", max_forgetting=1.0))
        files[f"board{number}"] = members[-1].share({})[1] or b""
    for member in members:
        member.merge({board: content for board, content in files.items() if board != member.name})
    sums = [_accuracy(member.state, test) for member in members]
    args.progress.note("sums are merged")
    done, bundle = Round(1, merged={node: {} for node in range(args.boards)}), Bundle.open(args.bundle)
    head = bundle.manifest.head
    HeadRounds(args.head_rounds, Network(network_hash(bundle), head.tap_size), head, _mean, None).play(
        done, _Boards(members)
    )
    whole = _part(args.train, folder / "all", {name: range(count) for name, count in taken.items()})
    _train(folder / "whole", args.bundle, whole, "replay")
    heads = [_accuracy(member.state, test) for member in members]
    return {
        "boards": args.boards,
        "pictures": args.pictures * 2,
        "sums": float(np.mean(sums)),
        "sums_and_averaged_head": float(np.mean(heads)),
        "took_it_in": done.heads,
        "one_state_with_replay": _accuracy(folder / "whole", test),
        "head_rounds": args.head_rounds,
        "bytes_a_board": format_bytes(sum(done.sent_bytes.values()) // args.boards),
        "seconds": done.seconds,
    }


def _mean(weighted: Sequence[tuple[list[FloatArray], int]]) -> list[FloatArray]:
    samples = [each for _, each in weighted]
    lists = zip(*(arrays for arrays, _ in weighted), strict=True)
    return [np.average(arrays, axis=0, weights=samples).astype(np.float32) for arrays in lists]


def _part(source: Path, out: Path, chosen: Mapping[str, range]) -> Path:
    """A folder of links to these pictures of each class, in the order of their names."""
    for name, places in chosen.items():
        (out / name).mkdir(parents=True)
        pictures = sorted((source / name).iterdir())
        for at in places:
            Path(out / name / pictures[at].name).symlink_to(pictures[at].resolve())
    return out


def _train(state: Path, bundle: Path, data: Path, strategy: str) -> None:
    words = ["--bundle", str(bundle), "--state", str(state), "--data", str(data), "--engine", "ort"]
    _said(["train", *words, "--strategy", strategy])


def _accuracy(state: Path, test: Path) -> float:
    return float(_said(["evaluate", "--state", str(state), "--data", str(test)])["accuracy"])


def _said(words: list[str]) -> Document:
    ended = run_child(words)
    if ended.code:
        raise UsageError(f"lightcl-edge {words[0]} failed: {ended.message}")
    return ended.document


if __name__ == "__main__":
    sys.exit(run_command(FleetHeadsCommand()))
