"""Really trained heads: the device's own code learns the tasks after a cut, one after the other."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lightcl_edge.bundle.manifest import InputInfo, Manifest, ModelInfo, TrainingDefaults
from lightcl_edge.bundle.writing import write_bundle
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.errors import RejectedError
from lightcl_edge.inference.evaluation import evaluate
from lightcl_edge.inference.predictor import Predictor
from lightcl_edge.inference.trunk import normalise
from lightcl_edge.learning.options import TrainOptions
from lightcl_edge.learning.train import train
from lightcl_edge.machine.freeing import trim_heap
from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_host.cutting.channel_axis import channel_axis
from lightcl_host.cutting.split import split_graph
from lightcl_host.graphs.counts import count_cost
from lightcl_host.graphs.graph import MINIMUM_ONNXRUNTIME, OPSET, GraphView
from lightcl_host.graphs.tensor_bytes import tensors_to_bytes
from lightcl_host.trunks.dtype_choice import trunk_features
from lightcl_host.trunks.feature_storage import feature_info
from lightcl_host.trunks.golden import golden_info, golden_values

if TYPE_CHECKING:
    from lightcl_host.analysis.tasks import Sequence
    from lightcl_host.cutting.cuts import Cut
    from lightcl_host.sources.source import Source

#: Images that set the scale of stored features.
_SCALE_IMAGES = 64


def train_head(
    source: Source, cut: Cut, sequence: Sequence, folder: Path, seed: int, progress: Progress
) -> dict[str, Any]:
    """Learn all tasks with the bundle's defaults, in a folder that is made anew and removed afterwards.

    The strategy is ``replay``, which trains the head's own weights: with the closed form every cut would answer alike.

    Returns ``accuracy`` on the held-out images of all tasks after the last one, among all classes (None when the gate
    rejected a task), ``after_tasks`` (the same after each task, for its classes and earlier ones) and ``note`` (why a
    task was rejected).
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        _write_bundle(source, cut, sequence, folder / "bundle", seed)
        after: list[float] = []
        for number in range(len(sequence.tasks)):
            options = TrainOptions(
                bundle=folder / "bundle",
                state=folder / "state",
                data=str(_save(sequence, [number], folder, held=False)),
                strategy="replay",
                engine="torch",
                seed=seed,
                max_forgetting=1.0,
            )
            try:
                train(options, PhaseMeter(), progress)
            except RejectedError as error:
                note = f"task {number + 1} was refused: {error}"
                return {"accuracy": None, "after_tasks": after, "note": note}
            held = open_dataset(str(_save(sequence, range(number + 1), folder, held=True)))
            after.append(evaluate(Predictor(folder / "state"), held, progress).accuracy)
        return {"accuracy": after[-1], "after_tasks": after, "note": ""}
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        trim_heap()


def _save(sequence: Sequence, numbers: range | list[int], folder: Path, *, held: bool) -> Path:
    """Write the images of some tasks to a file that the device's code reads like any data."""
    tasks = [sequence.tasks[number] for number in numbers]
    pixels = np.concatenate([task.held if held else task.train for task in tasks])
    labels = np.concatenate([task.held_labels if held else task.train_labels for task in tasks])
    path = folder / ("held.npz" if held else f"task{numbers[0]}.npz")
    np.savez(path, x=pixels, y=np.array(sequence.classes)[labels])
    return path


def _write_bundle(source: Source, cut: Cut, sequence: Sequence, out: Path, seed: int) -> None:
    """A bundle with a float32 trunk and without step graphs, because the torch engine trains the same head faster."""
    split = split_graph(source.graph, cut, max(2, len(sequence.classes)), False, seed)
    pixels = np.concatenate([task.train for task in sequence.tasks])
    pixels = pixels[np.random.default_rng([seed, 3]).permutation(len(pixels))[:_SCALE_IMAGES]]
    info = source.input_info
    features = trunk_features(split.trunk, normalise(pixels, info))
    golden = golden_values(pixels, features, split.head)
    same_size = InputInfo(
        info.height, info.width, "stretch", 1.0, info.interpolation, info.mean, info.std, info.channel_order
    )
    manifest = Manifest(
        model=ModelInfo(source.name, source.weights, cut.name, "fp32", OPSET, MINIMUM_ONNXRUNTIME),
        input=same_size,  # the images are saved at the network's size
        feature=feature_info(features, channel_axis(GraphView(source.graph), cut.tensor)),
        head=split.head_info,
        golden=golden_info(len(golden["images"]), "fp32"),
        cost=count_cost(split.trunk, split.trunk, split.head, split.head_info.patterns),
        defaults=TrainingDefaults(),
    )
    files = {
        "trunk.onnx": split.trunk.SerializeToString(deterministic=True),
        "head.onnx": split.head.SerializeToString(deterministic=True),
        "head.safetensors": tensors_to_bytes(split.parameters()),
        "golden.safetensors": tensors_to_bytes(golden),
    }
    write_bundle(out, manifest, files)
