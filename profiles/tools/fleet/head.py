"""Flower's FedAvg and FedProx on a softmax classifier over taps, without processes: ``head.py SAMPLES.npz ROUNDS MU``.

SAMPLES has taps, labels and boards of each sample, test_taps and test_labels. It prints the accuracy after each round.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import FedAvg, FedProx
from flwr.supercore.task_identity import TaskIdentity
from numpy.typing import NDArray

#: Gradient steps of a board in a round, over all its samples at once.
STEPS, LEARNING_RATE = 20, 1.0


def probabilities(weights: NDArray[np.float32], taps: NDArray[np.float32]) -> NDArray[np.float32]:
    """Of a classifier ``(d + 1, k)`` whose last row is the bias."""
    logits = taps @ weights[:-1] + weights[-1]
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: NDArray[np.float32] = shares / shares.sum(axis=1, keepdims=True)
    return result


def trained(
    start: NDArray[np.float32], taps: NDArray[np.float32], labels: NDArray[np.int64], mu: float
) -> NDArray[np.float32]:
    """The classifier after the steps of one board; ``mu`` pulls it to where it started (FedProx)."""
    weights, wanted = start.copy(), np.eye(start.shape[1], dtype=np.float32)[labels]
    for _ in range(STEPS):
        wrong = (probabilities(weights, taps) - wanted) / len(taps)
        slope = np.concatenate([taps.T @ wrong, wrong.sum(axis=0, keepdims=True)]) + mu * (weights - start)
        weights -= np.float32(LEARNING_RATE) * slope.astype(np.float32)
    return weights


class Boards(Grid):  # type: ignore[misc]
    """Boards in this process."""

    def __init__(self, data: dict[str, NDArray[Any]]) -> None:
        self._data = data
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1  # a message names them

    def get_node_ids(self) -> Iterable[int]:
        return [int(board) for board in np.unique(self._data["boards"])]

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterable[Message]:
        return [self._answer(message) for message in messages]

    def _answer(self, message: Message) -> Message:
        mine = self._data["boards"] == message.metadata.dst_node_id
        start = message.content["arrays"].to_numpy_ndarrays()[0]
        mu = float(message.content["config"].get("proximal-mu", 0.0))
        weights = trained(start, self._data["taps"][mine], self._data["labels"][mine], mu)
        metrics = MetricRecord({"num-examples": int(mine.sum())})
        return Message(RecordDict({"arrays": ArrayRecord([weights]), "metrics": metrics}), reply_to=message)

    def set_run(self, run: object) -> None:
        raise NotImplementedError

    run = create_message = push_messages = pull_messages = set_run


def main(samples: Path, rounds: int, mu: float) -> None:
    data = dict(np.load(samples))
    accuracies: list[float] = []

    def evaluate(_number: int, arrays: ArrayRecord) -> MetricRecord:
        found = probabilities(arrays.to_numpy_ndarrays()[0], data["test_taps"]).argmax(axis=1)
        accuracies.append(float((found == data["test_labels"]).mean()))
        return MetricRecord({"accuracy": accuracies[-1]})

    start = np.zeros((data["taps"].shape[1] + 1, int(data["labels"].max()) + 1), np.float32)
    strategy = FedProx(fraction_evaluate=0.0, proximal_mu=mu) if mu else FedAvg(fraction_evaluate=0.0)
    strategy.start(
        grid=Boards(data),
        initial_arrays=ArrayRecord([start]),
        train_config=ConfigRecord({}),
        num_rounds=rounds,
        evaluate_fn=evaluate,
    )
    print(json.dumps(accuracies))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
