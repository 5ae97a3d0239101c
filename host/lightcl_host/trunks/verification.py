"""Run an exported split against the original network, in a process of its own.

``python -m lightcl_host.trunks.verification FOLDER`` reads ``original.onnx``, ``trunk.onnx`` (float32), ``head.onnx``,
``reference.safetensors`` (``images``, ``logits`` of the original network, ``weight`` and ``bias`` of its
classifier) and prints one JSON document with the largest relative differences it found. With ``agreement`` as a
second argument it reads ``trunk.onnx`` (8-bit), ``head.onnx`` and ``reference.safetensors`` (``images``, ``classes``
that the original network names first, ``features`` of the float trunk, ``weight``, ``bias``), and prints how often the
parts name the same class first and the features' signal to noise.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.graph_names import BIAS, FEATURES, IMAGE, LOGITS, PENULTIMATE, WEIGHT
from lightcl_edge.errors import BundleError
from lightcl_edge.files.tensors import FloatArray, read_tensors
from lightcl_host.graphs.runner import GraphRunner, in_batches, relative_difference
from lightcl_host.graphs.tensor_bytes import tensors_to_bytes
from lightcl_host.trunks.feature_storage import channel_signal_to_noise_db, signal_to_noise_db

if TYPE_CHECKING:
    import onnx

    from lightcl_host.cutting.split import Split


#: Largest difference over largest reference value; float32 rounding through fifty layers stays far below.
TOLERANCE = 1e-4
#: What each figure compares, for messages.
MEANINGS = {
    "split_to_graph": "trunk and head against the whole graph",
    "split_to_source": "trunk and head against the original network",
    "classifier": "the head's logits against its own penultimate features and classifier",
}


@dataclass(frozen=True)
class Agreement:
    """How well a trunk of fewer bits stands in for the float one, on images it was not calibrated with.

    Attributes:
        agreement: share of images for which the parts name the same first class as the original network.
        signal_to_noise_db: of all features together; None where there is no noise.
        lowest_tenth_db: signal to noise that nine of ten channels reach.
        median_db: that half of the channels reach.
        least_db: of the worst channel.
    """

    agreement: float
    signal_to_noise_db: float | None
    lowest_tenth_db: float
    median_db: float
    least_db: float


def measure(folder: Path) -> dict[str, float]:
    """Compare the parts in a folder; see the module's description.

    Args:
        folder: holds the files.

    Returns:
        Largest relative difference by the keys of :data:`MEANINGS`.

    Raises:
        BundleError: when a tensor file is damaged.
        RuntimeError: when a graph does not run.
    """
    reference = {
        name: np.asarray(value, np.float32)
        for name, value in read_tensors(folder / "reference.safetensors", BundleError).items()
    }
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


def verify_in_fresh_process(original: onnx.ModelProto, split: Split, images: FloatArray, logits: FloatArray) -> float:
    """Check that trunk and head together are the original network.

    Args:
        original: the whole graph in normal form.
        split: its parts.
        images: normalised, shape ``(n, 3, height, width)``.
        logits: of the original network (not of its graph) for them, shape ``(n, classes)``.

    Returns:
        The largest relative difference found.

    Raises:
        BundleError: with the numbers, when a difference is above :data:`TOLERANCE` or the parts do not run.
    """
    parameters = split.parameters()
    reference: Mapping[str, NDArray[np.generic]] = {
        "images": images,
        "logits": logits,
        "weight": split.original.weight,
        "bias": split.original.bias,
        "shipped_weight": parameters[WEIGHT],
        "shipped_bias": parameters[BIAS],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, model in (("original", original), ("trunk", split.trunk), ("head", split.head)):
            (folder / f"{file}.onnx").write_bytes(model.SerializeToString(deterministic=True))
        (folder / "reference.safetensors").write_bytes(tensors_to_bytes(reference))
        differences = _run(folder)
    worst = max(differences, key=lambda key: differences[key])
    if not differences[worst] <= TOLERANCE:
        raise BundleError(
            f"the exported parts do not give what the network gives: {MEANINGS[worst]}, largest relative difference "
            f"{differences[worst]:.3g} over {len(images)} images, expected at most {TOLERANCE:g}; nothing was written"
        )
    return differences[worst]


def measure_agreement(folder: Path) -> dict[str, float]:
    """Compare an 8-bit trunk in a folder with the original network; see the module's description.

    Args:
        folder: holds the files.

    Returns:
        The fields of :class:`Agreement`; ``signal_to_noise_db`` is left out where there is no noise.

    Raises:
        BundleError: when a tensor file is damaged.
        RuntimeError: when a graph does not run.
    """
    reference = read_tensors(folder / "reference.safetensors", BundleError)
    images = np.asarray(reference["images"], np.float32)
    trunk, head = GraphRunner(folder / "trunk.onnx"), GraphRunner(folder / "head.onnx")
    features = np.concatenate([trunk({IMAGE: part}, [FEATURES])[FEATURES] for part in in_batches(images)])
    penultimate = np.concatenate([head({FEATURES: part}, [PENULTIMATE])[PENULTIMATE] for part in in_batches(features)])
    logits = penultimate @ np.asarray(reference["weight"]).T + np.asarray(reference["bias"])
    noise = signal_to_noise_db(np.asarray(reference["features"], np.float32), features)
    agreement = float((logits.argmax(axis=1) == reference["classes"]).mean())
    channels = channel_signal_to_noise_db(np.asarray(reference["features"], np.float32), features)
    found = {"agreement": agreement} | ({} if noise is None else {"signal_to_noise_db": noise})
    shares = zip(("least_db", "lowest_tenth_db", "median_db"), np.percentile(channels, [0, 10, 50]), strict=True)
    return found | {name: float(value) for name, value in shares}


def agreement_in_fresh_process(
    trunk: onnx.ModelProto, split: Split, images: FloatArray, features: FloatArray, classes: NDArray[np.int64]
) -> Agreement:
    """How well a trunk of fewer bits stands in for the float one.

    Args:
        trunk: the 8-bit or half-precision trunk.
        split: the network's parts.
        images: normalised, shape ``(n, 3, height, width)``.
        features: of the float trunk for them.
        classes: what the original network names first, shape ``(n,)``; zeros where that means nothing.

    Returns:
        The share of equal first classes and the features' signal to noise.

    Raises:
        BundleError: when the parts do not run.
    """
    reference: Mapping[str, NDArray[np.generic]] = {
        "images": images,
        "features": features,
        "classes": classes,
        "weight": split.original.weight,
        "bias": split.original.bias,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, model in (("trunk", trunk), ("head", split.head)):
            (folder / f"{file}.onnx").write_bytes(model.SerializeToString(deterministic=True))
        (folder / "reference.safetensors").write_bytes(tensors_to_bytes(reference))
        found = _run(folder, "agreement")
    return Agreement(**{"signal_to_noise_db": None, **found})  # type: ignore[arg-type]  # None is replaced by a number


def _run(folder: Path, *what: str) -> dict[str, float]:
    command = [sys.executable, "-m", "lightcl_host.trunks.verification", str(folder), *what]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        last = process.stderr.strip().splitlines()[-1:] or ["no message"]
        raise BundleError(f"the exported parts do not run (exit code {process.returncode}): {last[0][:300]}")
    return {key: float(value) for key, value in json.loads(process.stdout).items()}


if __name__ == "__main__":
    chosen = measure_agreement if sys.argv[2:] == ["agreement"] else measure
    print(json.dumps(chosen(Path(sys.argv[1]))))
