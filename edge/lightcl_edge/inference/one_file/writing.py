"""Write the one file, open it as anybody would, compare, and only then give it its name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.graph_names import IMAGE
from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.errors import BundleError, UsageError
from lightcl_edge.files.durable import fsync_folder, remove, rename, write_parts_durably
from lightcl_edge.files.tensors import FloatArray
from lightcl_edge.inference.learned_classifier import softmax
from lightcl_edge.inference.one_file.network import UNKNOWN_SCORE, Choice, network
from lightcl_edge.inference.predictor import Predictor, Scores
from lightcl_edge.inference.sessions import EXACT_INTEGERS, import_onnxruntime
from lightcl_edge.machine.freeing import give_back
from lightcl_edge.state.state import State

#: How far a probability may lie from the device's own. Other kernels round features to neighbouring bytes.
LARGEST_DIFFERENCE = 0.02


@dataclass(frozen=True)
class Written:
    """What was written, and how far it is from the device's own probabilities on the golden images."""

    model: str
    generation: int
    inputs: dict[str, list[str | int]]  # names and shapes
    outputs: dict[str, list[str | int]]
    classes: list[str]
    bytes: int
    largest_difference: float
    images: int  # that were compared
    #: Session options of onnxruntime that this processor needs for it.
    needs: dict[str, str]


def write_one_file(state: State, out: Path, choice: Choice) -> Written:
    """Write what a state has learned as one ONNX file.

    Raises:
        UsageError: when ``out`` is no place for it.
        StateError: when there is no state, it is damaged, or it has learned nothing yet.
        BundleError: when parts do not fit, or the file gives other probabilities; then no file is left.
    """
    _refuse_place(state.folder, out)
    bundle = state.bundle()
    images = bundle.golden()["images"].astype(np.uint8, copy=False)
    predictor = Predictor(state.folder)
    classifier, info, classes = predictor.classifier, bundle.manifest.input, predictor.classes
    expected, number, grey_range = predictor.scores(images), predictor.generation, predictor.grey_range
    del predictor  # its memory must not add to that of the file's session
    give_back()
    generation = state.read(number, bundle)
    inputs: dict[str, list[str | int]] = {IMAGE: ["n", 3, info.height, info.width]}
    outputs: dict[str, list[str | int]] = {choice.first: ["n", len(classes)]}
    if choice.unknown and classifier.tells_unknown:
        outputs[UNKNOWN_SCORE] = ["n"]
    about = metadata(info, classes, number, classifier.threshold() if UNKNOWN_SCORE in outputs else None)
    about["bundle"] = bundle.identity
    exact = bundle.manifest.model.trunk_dtype == "int8"
    if exact:
        about["session_options"] = json.dumps({EXACT_INTEGERS: "1"})
    if grey_range is not None:
        about["grey_range"] = json.dumps(grey_range)
    aside = out.with_name(f"{out.name}.new")
    try:
        write_parts_durably(aside, network(bundle, generation, choice).model(inputs, outputs, about))
        difference, needs = _checked(aside, images, expected, choice, exact)
        size = aside.stat().st_size
        rename(aside, out)
        fsync_folder(out.parent)
    finally:
        remove(aside)
    return Written(str(out), number, inputs, outputs, classes, size, difference, len(images), needs)


def metadata(info: InputInfo, classes: list[str], generation: int, unknown_above: float | None) -> dict[str, str]:
    """What the file says of itself."""
    pixels = {
        "name": IMAGE, "type": "float32", "layout": "NCHW", "channel_order": "RGB", "range": [0, 255],
        "height": info.height, "width": info.width, "resize": info.resize, "crop_ratio": info.crop_ratio,
        "interpolation": info.interpolation,
    }  # fmt: skip
    inside = {"mean": info.mean, "std": info.std, "channel_order": info.channel_order, "inside_the_graph": True}
    found = {
        "classes": json.dumps(classes, ensure_ascii=False),
        "labels": "\n".join(" ".join(name.splitlines()) for name in classes),
        "input": json.dumps(pixels),
        "normalisation": json.dumps(inside),
        "generation": str(generation),
    }
    return found if unknown_above is None else found | {"unknown_above": repr(unknown_above)}


def _refuse_place(state: Path, out: Path) -> None:
    if out.suffix != ".onnx":
        raise UsageError(f"--out is {out}, expected a name that ends in .onnx")
    if out.is_dir() or not out.parent.is_dir():
        found = f"{out} is a folder" if out.is_dir() else f"there is no folder {out.parent}"
        raise UsageError(f"--out: {found}; expected a file in a folder that is there")
    if out.resolve().is_relative_to(state.resolve()):
        raise UsageError(f"--out {out} lies in the state {state}, which holds its own files only; choose another place")


def _checked(
    path: Path, images: NDArray[np.uint8], expected: Scores, choice: Choice, exact: bool
) -> tuple[float, dict[str, str]]:
    """The largest difference in a plain session, or with the option that 8 bits need on some processors."""
    settings: list[dict[str, str]] = [{}, {EXACT_INTEGERS: "1"}] if exact else [{}]
    found = 0.0
    for needs in settings:
        first, scores = _run(path, images, choice, needs)
        found = float(np.abs(first - expected.probabilities).max(initial=0.0))
        if found <= LARGEST_DIFFERENCE and _alike(scores, expected):
            return found, needs
        give_back()
    raise BundleError(
        f"the file would give other results than the device on its golden images: probabilities differ by {found:.3g}, "
        f"expected at most {LARGEST_DIFFERENCE}; no file was written. Check the bundle: lightcl-edge verify"
    )


def _alike(scores: FloatArray | None, expected: Scores) -> bool:
    """Whether scores of what was never seen differ by little of their spread and size."""
    if scores is None or expected.novelty is None:
        return True
    size = float(np.abs(expected.novelty).max(initial=1.0))
    return bool(np.abs(scores - expected.novelty).max(initial=0.0) <= LARGEST_DIFFERENCE * size)


def _run(
    path: Path, images: NDArray[np.uint8], choice: Choice, needs: dict[str, str]
) -> tuple[FloatArray, FloatArray | None]:
    """Probabilities and scores of RGB images ``(n, height, width, 3)``, as any user of onnxruntime gets them."""
    runtime: Any = import_onnxruntime()
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    for name, value in needs.items():
        options.add_session_config_entry(name, value)
    try:
        session = runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        pixels = np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32)
        found = dict(zip(names, session.run(names, {IMAGE: pixels}), strict=True))
    except Exception as error:  # onnxruntime's exception classes share no public base
        raise BundleError(
            f"onnxruntime {runtime.__version__} does not run the joined file: {error}; no file was written"
        ) from error
    first = found[choice.first]
    return softmax(first.astype(np.float64)) if choice.logits else first, found.get(UNKNOWN_SCORE)
