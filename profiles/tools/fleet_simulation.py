"""``python profiles/tools/fleet_simulation.py``: many boards in Flower's simulation engine, against pooled learning."""

import argparse
import json
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from fleet.boards import Samples, make_states, pictures_needed, shares_of, taps_of_data
from fleet.flower import Flower
from fleet.report import simulation_page
from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document
from lightcl_edge.errors import UsageError
from lightcl_edge.files.tensors import FloatArray
from lightcl_edge.inference.generation_classifier import classifier_of
from lightcl_edge.state.state import State
from lightcl_host.fleet.run import ROUNDS, SEND
from one_command import run_command

_HEAD = Path(__file__).parent / "fleet" / "head.py"
#: Strength of the proximal term of FedProx.
_PROXIMAL_MU = 0.01


class FleetSimulationCommand(Command):
    """Let many boards with a few pictures of two classes share what they learned, in one round of Flower.

    The boards' states are made from taps that are computed once; share and merge are the commands, a process a board.
    FedAvg and FedProx of Flower train a linear classifier on the same taps, as many rounds as the same bytes allow.
    """

    name = "fleet-simulation"
    example = (
        "python profiles/tools/fleet_simulation.py --bundle bundle --train cifar/train --test cifar/test --out sim"
    )

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--bundle", type=Path, required=True)
        parser.add_argument("--train", required=True, metavar="DATA", help="folder with one sub-folder a class")
        parser.add_argument("--test", required=True, metavar="DATA")
        parser.add_argument("--out", type=Path, required=True, help="folder to make, for result.json and report.html")
        parser.add_argument("--boards", type=int, default=100)
        parser.add_argument("--pictures", type=int, default=10, help="of a class on a board (default: 10)")
        parser.add_argument("--test-pictures", type=int, default=100, help="of a class (default: 100)")
        parser.add_argument("--send", default="pool", choices=SEND, help="what boards get (default: pool)")
        parser.add_argument("--flower", type=Path, default=Path("build/fleet/bin"), help="where flwr is, with Ray")
        parser.add_argument("--note", default="", help="a sentence for the page, such as what else ran")
        parser.add_argument("--no-head", action="store_true", help="leave out FedAvg and FedProx")

    def run(self, args: argparse.Namespace) -> Document:
        if args.out.exists():
            raise UsageError(f"{args.out} exists already; expected a folder to make")
        if not (args.flower / "flwr").exists():
            raise UsageError(f"no flwr in {args.flower}; pip install 'lightcl-edge[fleet]' 'flwr[simulation]' there")
        args.out.mkdir(parents=True)
        out, bundle = args.out.absolute(), Bundle.open(args.bundle)
        needed = pictures_needed(args.boards, args.pictures, 10)
        train = taps_of_data(bundle, args.train, needed)
        test = taps_of_data(bundle, args.test, args.test_pictures)
        args.progress.note("taps are made")
        shares = shares_of(train, args.boards, args.pictures)
        states = make_states(out / "boards", bundle, shares)
        everything = {
            name: np.concatenate([each[name] for each in shares if name in each])
            for name in {name for each in shares for name in each}
        }
        pooled = make_states(out / "pooled", bundle, [everything])[0]
        args.progress.note("states are made")
        before = [_accuracy(state, test) for state in states]
        rounds, seconds = _fleet(out, args.flower, args.bundle.absolute(), states, args.send)
        document = {
            "boards": args.boards,
            "images": args.boards * args.pictures * 2,
            "test_images": len(test.names),
            "alone": _summary(before),
            **_compared(states, pooled, test),
            "rounds": [_figures(each) for each in rounds],
            "seconds_with_flower": seconds,
            "send": args.send,
            "numbers": bundle.manifest.head.tap_size,
            "note": args.note,
            "command": shlex.join(["python", "profiles/tools/fleet_simulation.py", *sys.argv[1:]]),
        }
        _write(out, document)
        if not args.no_head:
            _save(out / "samples.npz", shares, test)
            first = document["rounds"][0]
            document["head"] = _head(out, args.flower, first["up_bytes"] + first["down_bytes"], test)
            _write(out, document)
        return document

    def render(self, document: Document) -> str:
        return json.dumps(document, indent=1)


def _write(out: Path, document: Document) -> None:
    (out / "result.json").write_text(json.dumps(document, indent=1))
    (out / "report.html").write_text(simulation_page(document))


def _fleet(out: Path, programs: Path, bundle: Path, states: Sequence[Path], send: str) -> tuple[list[Document], float]:
    """Two rounds: the second shows what is sent when nothing changed."""
    import lightcl_host.fleet

    app = Path(lightcl_host.fleet.__file__).parent / "app"
    config: dict[str, str | int | float] = {
        "bundle": str(bundle),
        "store": str(out / "store"),
        "rounds": 2,
        "send": send,
        "boards": len(states),
        "states": str(states[0].parent / "{}"),
        "timeout-seconds": 3000.0,
    }
    started = time.perf_counter()
    with Flower(out / "flower", programs.absolute(), len(states)) as flower:
        flower.start_superlink()
        (out / "run.log").write_text(flower.run(app, config, 5000, "--stream"))
    record = out / "store" / ROUNDS
    if not record.exists():
        last = (out / "run.log").read_text().rstrip()[-600:]
        raise UsageError(f"Flower ended before the first round; {out / 'run.log'} ends with:\n{last}")
    rounds = [json.loads(line) for line in record.read_text().splitlines()]
    return rounds, time.perf_counter() - started


def _figures(done: Document) -> Document:
    boards = len(done["boards"])
    peaks = [each["peak_rss_bytes"] for each in done["merged"].values() if "peak_rss_bytes" in each]
    return {
        "boards": boards,
        "took_in": sum(bool(each.get("merged")) for each in done["merged"].values()),
        "refused": len(done["refused"]),
        "failed": len(done["failures"]),
        "up_bytes": sum(done["received_bytes"].values()) / max(boards, 1),
        "down_bytes": sum(done["sent_bytes"].values()) / max(boards, 1),
        "merge_peak_rss_bytes": max(peaks, default=0),
        "merge_seconds": float(np.median([each.get("seconds", 0.0) for each in done["merged"].values()] or [0.0])),
        "seconds": done["seconds"],
    }


def _named(state: Path, test: Samples) -> list[str]:
    """The class of each test picture, as a state names it."""
    generation = State(state).read()
    logits = classifier_of(generation).logits(test.taps, None)
    return [generation.meta.classes[place] for place in logits.argmax(axis=1)]


def _accuracy(state: Path, test: Samples) -> float:
    return float(np.mean([a == b for a, b in zip(_named(state, test), test.names, strict=True)]))


def _summary(accuracies: Sequence[float]) -> Document:
    return {"mean": float(np.mean(accuracies)), "least": float(min(accuracies)), "most": float(max(accuracies))}


def _compared(states: Sequence[Path], pooled: Path, test: Samples) -> Document:
    """Every board after the round against one that learned all pictures itself."""
    names = sorted(set(test.names))
    wanted, named = State(pooled).read().sums.pooled(names), _named(pooled, test)
    largest, classes, alike, accuracies = 0.0, [], [], []
    for state in states:
        sums = State(state).read().sums
        found = sums.pooled(names)
        for mine, theirs in ((found.means, wanted.means), (found.scatter, wanted.scatter)):
            largest = max(largest, float(np.abs(mine - theirs).max() / np.abs(theirs).max()))
        classes.append(len(sums.classes))
        mine_named = _named(state, test)
        alike.append(float(np.mean([a == b for a, b in zip(mine_named, named, strict=True)])))
        accuracies.append(float(np.mean([a == b for a, b in zip(mine_named, test.names, strict=True)])))
        if not (found.counts == wanted.counts).all():
            largest = float("inf")
    return {
        "least_classes": min(classes),
        "largest_relative_difference": largest,
        "least_share_of_equal_predictions": min(alike),
        "pooled": float(np.mean(np.array(named) == np.array(test.names))),
        "together": _summary(accuracies),
    }


def _save(path: Path, shares: Sequence[Mapping[str, FloatArray]], test: Samples) -> None:
    names = sorted(set(test.names))
    parts = [(board, names.index(name), taps) for board, share in enumerate(shares) for name, taps in share.items()]
    np.savez(
        path,
        taps=np.concatenate([taps for _, _, taps in parts]),
        labels=np.concatenate([np.full(len(taps), label) for _, label, taps in parts]),
        boards=np.concatenate([np.full(len(taps), board) for board, _, taps in parts]),
        test_taps=test.taps,
        test_labels=np.array([names.index(name) for name in test.names]),
    )


def _head(out: Path, programs: Path, allowed_bytes: float, test: Samples) -> Document:
    round_bytes = 2 * 4 * (test.taps.shape[1] + 1) * len(set(test.names))
    rounds = max(1, int(allowed_bytes / round_bytes))
    found: Document = {"bytes_a_round": round_bytes, "rounds": rounds}
    for name, mu in (("FedAvg", 0.0), ("FedProx", _PROXIMAL_MU)):
        words = [str(programs / "python"), str(_HEAD), str(out / "samples.npz"), str(rounds), str(mu)]
        done = subprocess.run(words, check=True, text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        found[name] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(run_command(FleetSimulationCommand()))
