"""Run an exported split against the original network, in a process of its own.

``python -m lightcl_host.trunks.verification FOLDER split`` compares ``trunk.onnx`` (float32) and ``head.onnx`` with
``original.onnx``. ``... FOLDER agreement`` compares a ``trunk.onnx`` of fewer bits with ``float.onnx``.
Both read ``reference.safetensors`` and print the figures as one JSON document.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.graph_names import BIAS, FEATURES, IMAGE, LOGITS, PENULTIMATE, TAPS, WEIGHT
from lightcl_edge.errors import BundleError
from lightcl_edge.files.tensors import FloatArray, read_tensors
from lightcl_host.graphs.runner import GraphRunner, relative_difference, run_in_batches
from lightcl_host.graphs.tensor_bytes import tensors_to_bytes
from lightcl_host.trunks.feature_quality import neighbours_kept
from lightcl_host.trunks.feature_storage import channel_signal_to_noise_db, signal_to_noise_db

if TYPE_CHECKING:
    import onnx

    from lightcl_host.cutting.split import Split

#: Largest difference over largest reference value; float32 rounding through fifty layers stays far below.
TOLERANCE = 1e-4
#: Trunks are timed for this long or so many turns, whichever ends first.
_TIMING_S, _MOST_TURNS = 0.5, 30
#: What each figure compares, for messages.
MEANINGS = {
    "split_to_graph": "trunk and head against the whole graph",
    "split_to_source": "trunk and head against the original network",
    "classifier": "the head's logits against its own penultimate features and classifier",
}


@dataclass(frozen=True)
class Agreement:
    """How well a trunk of fewer bits stands in for the float one, on images it was not calibrated with."""

    neighbours_kept: float  # share of images whose nearest neighbour is among the float trunk's five nearest
    signal_to_noise_db: float | None  # of all features together; None where there is no noise
    lowest_tenth_db: float  # signal to noise that nine of ten channels reach
    median_db: float  # signal to noise that half of the channels reach
    least_db: float  # of the worst channel
    milliseconds: float  # that one image takes on this machine, with one thread
    float32_milliseconds: float  # the same for the float trunk
    accuracy: float | None = None  # of a closed-form classifier on held-out images; None without labelled ones
    float32_accuracy: float | None = None  # the same with the float trunk
    accuracy_error: float | None = None  # standard error of their difference


def measure_split(folder: Path) -> dict[str, float]:
    """Largest relative differences of the parts in a folder, by the keys of :data:`MEANINGS`."""
    reference = _read_reference(folder)
    images = {IMAGE: reference["images"]}
    whole = GraphRunner(folder / "original.onnx")(images, [LOGITS])[LOGITS]
    features = GraphRunner(folder / "trunk.onnx")(images, [FEATURES])
    outputs = GraphRunner(folder / "head.onnx")(features, [LOGITS, PENULTIMATE])
    penultimate = outputs[PENULTIMATE]
    logits = penultimate @ reference["weight"].T + reference["bias"]
    shipped = penultimate @ reference["shipped_weight"].T + reference["shipped_bias"]
    return {
        "split_to_graph": relative_difference(logits, whole),
        "split_to_source": relative_difference(logits, reference["logits"]),
        "classifier": relative_difference(outputs[LOGITS], shipped),
    }


def measure_agreement(folder: Path) -> dict[str, float | None]:
    """The fields of :class:`Agreement` for the trunk in a folder, but for accuracies."""
    reference = _read_reference(folder)
    images, expected = reference["images"], reference["features"]
    features = run_in_batches(GraphRunner(folder / "trunk.onnx"), images, IMAGE, FEATURES)
    head = GraphRunner(folder / "head.onnx")
    taps, expected_taps = (run_in_batches(head, values, FEATURES, TAPS) for values in (features, expected))
    channels = channel_signal_to_noise_db(expected, features, int(reference["channel_axis"].item()))
    least, lowest_tenth, median = (float(value) for value in np.percentile(channels, [0, 10, 50]))
    milliseconds, float32_milliseconds = _milliseconds([folder / "trunk.onnx", folder / "float.onnx"], images[:1])
    return {
        "neighbours_kept": neighbours_kept(taps, expected_taps),
        "signal_to_noise_db": signal_to_noise_db(expected, features),
        "lowest_tenth_db": lowest_tenth,
        "median_db": median,
        "least_db": least,
        "milliseconds": milliseconds,
        "float32_milliseconds": float32_milliseconds,
    }


def _milliseconds(trunks: list[Path], image: FloatArray) -> list[float]:
    """The shortest time of each; they take turns, so that what else the machine does touches all alike."""
    runners = [GraphRunner(trunk, threads=1) for trunk in trunks]
    best, until = [math.inf] * len(runners), time.perf_counter() + _TIMING_S
    for turn in range(_MOST_TURNS):
        for index, runner in enumerate(runners):
            started = time.perf_counter()
            runner({IMAGE: image}, [FEATURES])
            if turn:  # the first run also prepares memory
                best[index] = min(best[index], 1000 * (time.perf_counter() - started))
        if turn and time.perf_counter() > until:
            break
    return best


def _read_reference(folder: Path) -> dict[str, FloatArray]:
    tensors = read_tensors(folder / "reference.safetensors", BundleError)
    return {name: np.asarray(value, np.float32) for name, value in tensors.items()}


def verify_in_fresh_process(original: onnx.ModelProto, split: Split, images: FloatArray, logits: FloatArray) -> float:
    """Check that trunk and head together are the original network.

    Args:
        images: normalised, shape ``(n, 3, height, width)``.
        logits: of the original network (not of its graph) for them, shape ``(n, classes)``.

    Returns:
        The largest relative difference found.

    Raises:
        BundleError: with the numbers, when a difference is above :data:`TOLERANCE` or the parts do not run.
    """
    parameters = split.parameters()
    differences = _measure(
        "split",
        {"original": original, "trunk": split.trunk, "head": split.head},
        {
            "images": images,
            "logits": logits,
            "weight": split.original.weight,
            "bias": split.original.bias,
            "shipped_weight": parameters[WEIGHT],
            "shipped_bias": parameters[BIAS],
        },
    )
    worst = max(differences, key=lambda key: differences[key])
    if not differences[worst] <= TOLERANCE:
        raise BundleError(
            f"the exported parts do not give what the network gives: {MEANINGS[worst]}, largest relative difference "
            f"{differences[worst]:.3g} over {len(images)} images, expected at most {TOLERANCE:g}; nothing was written"
        )
    return differences[worst]


def agreement_in_fresh_process(
    trunk: onnx.ModelProto, split: Split, images: FloatArray, features: FloatArray, channel_axis: int = 0
) -> Agreement:
    """How well a trunk of fewer bits stands in for the float one.

    Args:
        images: normalised, shape ``(n, 3, height, width)``.
        features: of the float trunk for them, shape ``(n, *feature_shape)``.
        channel_axis: of the feature's shape.

    Raises:
        BundleError: when the parts do not run.
    """
    models = {"trunk": trunk, "float": split.trunk, "head": split.head}
    reference = {"images": images, "features": features, "channel_axis": np.array(channel_axis)}
    return Agreement(**_measure("agreement", models, reference))


def _measure(
    what: str, models: dict[str, onnx.ModelProto], reference: Mapping[str, NDArray[np.generic]]
) -> dict[str, float]:
    """The figures that a fresh process finds, which knows nothing but these files."""
    with tempfile.TemporaryDirectory() as folder:
        for name, model in models.items():
            Path(folder, f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))
        Path(folder, "reference.safetensors").write_bytes(tensors_to_bytes(reference))
        command = [sys.executable, "-m", "lightcl_host.trunks.verification", folder, what]
        process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        last = process.stderr.strip().splitlines()[-1:] or ["no message"]
        raise BundleError(f"the exported parts do not run (exit code {process.returncode}): {last[0][:300]}")
    figures: dict[str, float] = json.loads(process.stdout)
    return figures


if __name__ == "__main__":
    measure = {"split": measure_split, "agreement": measure_agreement}[sys.argv[2]]
    print(json.dumps(measure(Path(sys.argv[1]))))
