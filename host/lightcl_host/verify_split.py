"""Run an exported split against the original network, in a process of its own.

``python -m lightcl_host.verify_split FOLDER`` reads ``original.onnx``, ``trunk.onnx`` (float32), ``head.onnx`` and
``reference.safetensors`` (``images``, ``logits`` of the original network, ``weight`` and ``bias`` of its
classifier) and prints one JSON document with the largest relative differences it found.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import BundleError
from lightcl_edge.tensors import read_tensors
from lightcl_host.classifier import BIAS, WEIGHT
from lightcl_host.inference import GraphRunner, relative_difference
from lightcl_host.onnx_graph import FEATURES, IMAGE, LOGITS, PENULTIMATE
from lightcl_host.tensor_bytes import tensors_to_bytes

if TYPE_CHECKING:
    import onnx

    from lightcl_host.split import Split

FloatArray = NDArray[np.float32]

#: Largest difference over largest reference value; float32 rounding through fifty layers stays far below.
TOLERANCE = 1e-4
#: What each figure compares, for messages.
MEANINGS = {
    "split_to_graph": "trunk and head against the whole graph",
    "split_to_source": "trunk and head against the original network",
    "classifier": "the head's logits against its own penultimate features and classifier",
}


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


def _run(folder: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "lightcl_host.verify_split", str(folder)]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    if process.returncode != 0:
        last = process.stderr.strip().splitlines()[-1:] or ["no message"]
        raise BundleError(f"the exported parts do not run (exit code {process.returncode}): {last[0][:300]}")
    found = json.loads(process.stdout)
    return {key: float(found[key]) for key in MEANINGS}


if __name__ == "__main__":
    print(json.dumps(measure(Path(sys.argv[1]))))
