"""All rounds of a run, and the record of each as a line of JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.signature import read_public_key
from lightcl_edge.console.text import count, format_bytes
from lightcl_edge.fleet.knowledge import network_hash
from lightcl_host.fleet.rounds import Link, Round, play_round
from lightcl_host.fleet.store import Network, Store

ROUNDS = "rounds.jsonl"


@dataclass(frozen=True)
class FleetOptions:
    """What a run's owner asks for.

    Attributes:
        bundle: what all boards learn with.
        store: folder for what boards shared; made where it is missing.
        key: PEM file of the public key that must have signed.
    """

    bundle: Path
    store: Path
    key: Path | None = None
    rounds: int = 1
    pause_s: float = 0.0


def run_fleet(options: FleetOptions, link: Link, say: Callable[[str], None]) -> list[Round]:
    """Play all rounds.

    Raises:
        BundleError: when the bundle can't be used.
        LightclError: when what was kept is damaged, or the folder can't be written.
    """
    bundle = Bundle.open(options.bundle)
    key = read_public_key(options.key) if options.key else None
    store = Store(options.store, Network(network_hash(bundle), bundle.manifest.head.tap_size, key))
    rounds = []
    for number in range(1, options.rounds + 1):
        if number > 1:
            time.sleep(options.pause_s)
        done = play_round(number, link, store)
        rounds.append(done)
        for line in lines(done):
            say(line)
        with (options.store / ROUNDS).open("a") as file:
            file.write(json.dumps({"ended": time.time(), **asdict(done)}) + "\n")
    return rounds


def lines(done: Round) -> list[str]:
    """A round for a person: what happened, then each board that was refused or failed."""
    took = [each for each in done.merged.values() if each.get("merged")]
    return [
        f"round {done.number}: {count(len(done.boards), 'board')}, {len(done.taken)} with something new, "
        f"{len(took)} took it in, received {format_bytes(sum(done.received_bytes.values()))}, "
        f"sent {format_bytes(sum(done.sent_bytes.values()))}, {done.seconds:.1f} s",
        *(f"  refused: {each.board or f'node {each.node}'}: {each.reason}" for each in done.refused),
        *(f"  failed: {done.boards.get(node) or f'node {node}'}: {text}" for node, text in done.failures.items()),
    ]
