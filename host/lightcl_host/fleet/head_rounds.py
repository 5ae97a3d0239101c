"""Federated averaging of the head, after boards know the same classes: as many rounds as asked, then all take it in."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.errors import LightclError
from lightcl_edge.files.tensors import FloatArray
from lightcl_edge.fleet.head_file import HeadFile, head_record, write_head
from lightcl_edge.state.board import all_erased
from lightcl_host.fleet.rounds import MERGE, Link, Packet, Round, ask
from lightcl_host.fleet.store import Network, Refusal

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

#: What a server asks for: a head that is trained on what a board remembers.
TRAIN_HEAD = "query.head"
#: The weighted mean of lists of arrays: each list with its weight.
Average = Callable[[Sequence[tuple[list[FloatArray], int]]], list[FloatArray]]
_NAME = "average"
#: No board weighs more than so many usual ones.
_MOST_TIMES = 10


class _Head(NamedTuple):
    rows: tuple[str, ...]
    parameters: Mapping[str, FloatArray]
    samples: int
    erased: Mapping[str, int]


class HeadRounds:
    """The server's part.

    Args:
        average: Flower's.
        sign: private key that signs the average; None for no signature.
    """

    def __init__(
        self, rounds: int, network: Network, head: HeadInfo, average: Average, sign: Ed25519PrivateKey | None
    ) -> None:
        self._rounds, self._network, self._head, self._average, self._sign = rounds, network, head, average, sign

    def play(self, done: Round, link: Link) -> None:
        """Average the heads of all boards that took something in; failures are named in the round."""
        started = time.perf_counter()
        nodes = [node for node in done.merged if node not in done.failures]
        current: bytes | None = None
        for _ in range(self._rounds if len(nodes) > 1 else 0):
            files = {} if current is None else {_NAME: current}
            answers = ask(done, link, TRAIN_HEAD, {node: Packet(files=files) for node in nodes})
            heads = self._read(done, answers)
            if len(heads) < 2:
                done.note = "; ".join(
                    filter(None, [done.note, "heads were not averaged: fewer than two boards gave one"])
                )
                break
            nodes, current = list(answers), self._averaged(heads)
        if current is not None:
            answers = ask(done, link, MERGE, {node: Packet(files={_NAME: current}) for node in nodes})
            done.heads = sum(bool(answer.document.get("head")) for answer in answers.values())
        done.seconds += time.perf_counter() - started

    def _read(self, done: Round, answers: Mapping[int, Packet]) -> list[_Head]:
        """The heads that can be averaged: those with the rows that most have."""
        found: dict[int, _Head] = {}
        with tempfile.TemporaryDirectory() as folder:
            for node, answer in sorted(answers.items()):
                path = Path(folder) / str(node)
                path.write_bytes(next(iter(answer.files.values()), b""))
                try:
                    file = HeadFile(path)
                    file.check(self._network.hash, self._network.size, self._network.key, self._head)
                except LightclError as error:
                    done.refused.append(Refusal(node, done.boards.get(node), error.kind, str(error)))
                    continue
                found[node] = _Head(tuple(file.record.rows), file.parameters(), file.record.samples, file.record.erased)
        usual = Counter(head.rows for head in found.values()).most_common(1)
        for node, head in found.items():
            if head.rows != usual[0][0]:
                reason = f"its head has rows of {head.rows[:4]}, most have {usual[0][0][:4]}"
                done.refused.append(Refusal(node, done.boards.get(node), None, reason))
        return [head for head in found.values() if head.rows == usual[0][0]]

    def _averaged(self, heads: Sequence[_Head]) -> bytes:
        names = sorted(heads[0].parameters)
        most = int(_MOST_TIMES * statistics.median(head.samples for head in heads))
        weighted = [([head.parameters[name] for name in names], min(head.samples, most)) for head in heads]
        mean = dict(zip(names, self._average(weighted), strict=True))
        samples = sum(min(head.samples, most) for head in heads)
        erased: dict[str, int] = {}
        for head in heads:
            erased = all_erased(erased, head.erased)
        about = head_record(_NAME, self._network.hash, self._network.size, samples, erased)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / _NAME
            write_head(path, about, mean, heads[0].rows, self._sign)
            return path.read_bytes()
