"""All rounds of a run: the record of each as a line of JSON, and the fleet's page."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.signature import read_private_key, read_public_key
from lightcl_edge.console.text import Document, count, format_bytes
from lightcl_edge.errors import UsageError
from lightcl_edge.files.durable import make_folders, replace_durably
from lightcl_edge.fleet.knowledge import network_hash
from lightcl_edge.fleet.member import Member
from lightcl_edge.fleet.recorded_file import Record
from lightcl_edge.machine.child_command import run_command
from lightcl_edge.state.lock import locked
from lightcl_host.fleet.head_rounds import Average, HeadRounds
from lightcl_host.fleet.page import fleet_page
from lightcl_host.fleet.pool_keeper import PoolKeeper
from lightcl_host.fleet.rounds import Round, play_round
from lightcl_host.fleet.secure_rounds import LEAST_BOARDS, SecureLink, play_secure_round
from lightcl_host.fleet.store import Network, Store

ROUNDS, PAGE = "rounds.jsonl", "fleet.html"
SECURE = "secure"
SEND = ("files", "pool", SECURE)


@dataclass(frozen=True)
class FleetOptions:
    """What a run's owner asks for.

    Attributes:
        bundle: what all boards learn with.
        store: folder for what boards shared; made where it is missing.
        key: PEM file of the public key that must have signed.
        send: what boards get: each other's ``files``, a ``pool``, or ``secure``: a pool of sums seen together only.
        sign: PEM file of the private key that signs the pool.
        least: boards that must have something new before sums are added that only add up.
        head_rounds: rounds of federated averaging of the head after each round that brought something new.
        test: labelled pictures on the server to judge all that is known; None to leave it out.
    """

    bundle: Path
    store: Path
    key: Path | None = None
    rounds: int = 1
    pause_s: float = 0.0
    test: str | None = None
    send: str = SEND[0]
    sign: Path | None = None
    least: int = LEAST_BOARDS
    head_rounds: int = 0


def run_fleet(
    options: FleetOptions, link: SecureLink, say: Callable[[str], None], average: Average | None = None
) -> list[Round]:
    """Play all rounds.

    Args:
        average: for federated averaging of heads.

    Raises:
        UsageError: when options do not go together.
        BundleError: when the bundle can't be used.
        LightclError: when another server uses the folder, it can't be written, or what was kept there is damaged.
    """
    if options.send not in SEND:
        raise UsageError(f"send is {options.send!r}, expected one of {', '.join(SEND)}")
    if options.least < 2:
        raise UsageError(f"least-boards is {options.least}, expected 2 or more: the sum of one board is its own")
    if options.head_rounds and options.send == SECURE:
        raise UsageError("heads would reach the server one by one; take head-rounds=0 with send=secure")
    bundle = Bundle.open(options.bundle)
    key = read_public_key(options.key) if options.key else None
    make_folders(options.store)
    with locked(options.store):
        network = Network(network_hash(bundle), bundle.manifest.head.tap_size, key)
        sign = read_private_key(options.sign) if options.sign else None
        keeper = PoolKeeper(options.store, network, sign) if options.send != SEND[0] else None
        heads = HeadRounds(options.head_rounds, network, bundle.manifest.head, average, sign) if average else None
        return _play(options, Store(options.store, network), keeper, heads, link, say)


def _play(
    options: FleetOptions,
    store: Store,
    keeper: PoolKeeper | None,
    heads: HeadRounds | None,
    link: SecureLink,
    say: Callable[[str], None],
) -> list[Round]:
    rounds = []
    accuracy = _accuracy(options, store, keeper, say)
    for number in range(1, options.rounds + 1):
        if number > 1:
            time.sleep(options.pause_s)
        if keeper is not None and options.send == SECURE:
            done = play_secure_round(number, link, keeper, options.least)
        else:
            done = play_round(number, link, store, keeper)
        if heads is not None:
            heads.play(done, link)
        before, accuracy = accuracy, _accuracy(options, store, keeper, say) if done.taken else accuracy
        rounds.append(done)
        for line in lines(done):
            say(line)
        accuracies = {"accuracy_before": before, "accuracy_after": accuracy}
        _record(options.store, _records(store, keeper), {**asdict(done), **accuracies})
    return rounds


def _records(store: Store, keeper: PoolKeeper | None) -> Mapping[str, Record]:
    """What is known of each board, or of all together where the server has no board's file."""
    return store.records if keeper is None or store.records else {keeper.record.board: keeper.record}


def _record(folder: Path, records: Mapping[str, Record], done: Document) -> None:
    with (folder / ROUNDS).open("a") as file:
        file.write(json.dumps({"ended": time.time(), **done}) + "\n")
    rounds = [json.loads(line) for line in (folder / ROUNDS).read_text().splitlines() if line.endswith("}")]
    replace_durably(folder / PAGE, fleet_page(records, rounds).encode("utf-8", "replace"))


def _accuracy(
    options: FleetOptions, store: Store, keeper: PoolKeeper | None, say: Callable[[str], None]
) -> float | None:
    """Of all that the server knows, on the server's test pictures; None without pictures or knowledge.

    Pictures of classes that nobody has taught yet count as wrong.
    """
    files = store.files(store.records) if keeper is None else keeper.files(keeper.missing(None, {}))
    if options.test is None or not files:
        return None
    from lightcl_edge.data.specification import open_dataset  # with Pillow

    state = options.store / "state"
    merged = Member(state, options.bundle, max_forgetting=1.0).merge(files)  # checked already
    ended = run_command(["evaluate", "--state", str(state), "--data", options.test, "--skip-unknown"])
    if "error" in merged or ended.code:
        say(f"  no accuracy: {merged.get('error', {}).get('message') or ended.message}")
        return None
    return float(ended.document["accuracy"] * ended.document["images"] / len(open_dataset(options.test, "evaluate")))


def lines(done: Round) -> list[str]:
    """A round for a person: what happened, then each board that was refused or failed."""
    took = [each for each in done.merged.values() if each.get("merged")]
    return [
        f"round {done.number}: {count(len(done.boards), 'board')}, {len(done.taken)} with something new, "
        f"{len(took)} took it in, received {format_bytes(sum(done.received_bytes.values()))}, "
        f"sent {format_bytes(sum(done.sent_bytes.values()))}, {done.seconds:.1f} s",
        *([f"  {count(done.heads, 'board')} took in the averaged head"] if done.heads else []),
        *([f"  {done.note}"] if done.note else []),
        *(
            f"  {done.boards.get(node) or f'node {node}'} passed over {each.get('board')}: {each.get('reason')}"
            for node, document in done.merged.items()
            for each in document.get("ignored", [])
        ),
        *(f"  refused: {each.board or f'node {each.node}'}: {each.reason}" for each in done.refused),
        *(f"  failed: {done.boards.get(node) or f'node {node}'}: {text}" for node, text in done.failures.items()),
    ]
