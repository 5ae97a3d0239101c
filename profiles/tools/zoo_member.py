"""One member of the zoo, from its cuts to predictions."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.errors import LightclError
from lightcl_edge.inference.predictor import Predictor
from lightcl_edge.learning.options import TrainOptions
from lightcl_edge.learning.train import train
from lightcl_edge.machine.memory_limits import UNCHECKED_BYTES
from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_host.cutting.cuts import find_cuts
from lightcl_host.export.export import export_bundle
from lightcl_host.export.options import ExportOptions
from lightcl_host.sources.options import SourceOptions
from lightcl_host.sources.source import Source, open_source
from lightcl_models.registry import load_model

ENGINES = ("ort", "torch")
_IMAGES, _CLASSES, _STORED_SIDE = 12, 2, 64
#: Sides to try before the network's own, which many networks insist on.
_SIDES = (64, 96, 128)


def try_member(pick: Callable[[Path], str], folder: Path, record: Callable[[Document], None]) -> None:
    """Everything that is asked of a member; ``record`` is called after each stage with what is known so far."""
    row: Document = {"member": None, "stage": "pick"}
    try:
        for part in _stages(pick, folder, row):
            row |= part
            record(row)
    except LightclError as error:
        row |= {"reason": str(error)}
    except Exception as error:  # the zoo is where such an error is to be seen
        row |= {"reason": f"{type(error).__name__}: {error}", "unexpected": True}
    record(row)


def _stages(pick: Callable[[Path], str], folder: Path, row: Document) -> Iterator[Document]:
    model = pick(folder)
    yield {"member": Path(model).name, "stage": "open"}
    source = _open(model)
    yield {"side": source.input_info.height, "stage": "cuts"}
    cuts = find_cuts(source.graph)
    yield {"cuts": len(cuts), "trainable": sum(cut.trainable for cut in cuts), "stage": "export"}
    data = _data(folder)
    options = ExportOptions(
        SourceOptions(model), folder / "bundle", trunk_dtype="fp32", calibration=str(data), force=True, capacity=16
    )
    with _timed(row, "export_s"):
        document = export_bundle(options, Progress(quiet=True), source)
    yield {"cut": document["cut"], "difference": document["float_max_relative_difference"]}
    answers = []
    for engine in ENGINES:
        row["stage"] = f"train {engine}"
        with _timed(row, f"train_{engine}_s"):
            answers.append(_train_and_predict(folder, data, engine))
        yield {engine: True}
    yield {"engines_differ": float(np.abs(answers[0] - answers[1]).max()), "stage": "done"}


def _open(model: str) -> Source:
    if model.endswith(".onnx"):
        return open_source(SourceOptions(model))
    return open_source(SourceOptions(model, weights="none", image_size=_accepted_side(model)))


def _accepted_side(model: str) -> int | None:
    """The first side that the network accepts; None for its own."""
    import torch

    for side in _SIDES:
        # what a network's own code raises at a size that it can't take
        with suppress(Exception), torch.no_grad():
            module = load_model(model, "none", 0, side).module
            module(torch.zeros(2, 3, side, side))
            return side
    return None


def _data(folder: Path) -> Path:
    """Images of noise, brighter in one class than in the other."""
    path, random = folder / "images.npz", np.random.default_rng(0)
    labels = np.arange(_IMAGES) % _CLASSES
    shape = (_IMAGES, _STORED_SIDE, _STORED_SIDE, 3)
    np.savez(path, x=(random.integers(0, 128, shape) + 100 * labels[:, None, None, None]).astype(np.uint8), y=labels)
    return path


def _train_and_predict(folder: Path, data: Path, engine: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    state = folder / engine
    options = TrainOptions(
        bundle=folder / "bundle", state=state, data=str(data), strategy="finetune", engine=engine, epochs=1,
        learning_rate=1e-3, memory_budget_bytes=UNCHECKED_BYTES, max_forgetting=1.0,
    )  # fmt: skip
    train(options, PhaseMeter(), Progress(quiet=True))
    predictor = Predictor(state)
    dataset = open_dataset(str(data))
    pixels = np.stack([dataset.load(index, predictor.input) for index in range(4)])
    probabilities = predictor.scores(pixels).probabilities
    if not np.isfinite(probabilities).all():
        raise ArithmeticError("probabilities are not finite")
    return probabilities


@contextmanager
def _timed(row: Document, name: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    row[name] = round(time.monotonic() - started, 1)
