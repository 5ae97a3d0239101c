"""Flower's FedAvg on heads."""

from collections.abc import Sequence

from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg

from lightcl_edge.files.tensors import FloatArray

_WEIGHT = "num-examples"


def average(weighted: Sequence[tuple[list[FloatArray], int]]) -> list[FloatArray]:
    """The mean of lists of arrays, each list weighted by its number of samples."""
    messages = [
        Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": MetricRecord({_WEIGHT: samples})}), 1, "train")
        for arrays, samples in weighted
    ]
    arrays, _ = FedAvg(weighted_by_key=_WEIGHT).aggregate_train(1, messages)
    mean: list[FloatArray] = arrays.to_numpy_ndarrays()
    return mean
