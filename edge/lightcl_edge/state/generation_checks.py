"""What the tensors of a generation must be: names, types, shapes, ranges, finite numbers.

A hash says that a file is the one that its record names, not that its content makes sense. All of this is checked once
when a generation is read, so that no command meets such tensors later.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.bundle import BUFFER, HEAD_PARAMETERS, TRUNK, Bundle
from lightcl_edge.bundle.graph_names import LOGITS
from lightcl_edge.bundle.manifest import HeadInfo
from lightcl_edge.data.feature_buffer import BufferIdentity, FeatureBuffer
from lightcl_edge.errors import StateError
from lightcl_edge.files.tensors import TensorFile, Tensors
from lightcl_edge.state.generation import HEAD, HOLDOUT, STRATEGY

#: Strategies that keep masks of channels.
WITH_MASKS = ("lightcl", "replay")


def way_back(folder: Path) -> str:
    """What to do about the damaged generation in this folder, for the end of a message."""
    import shlex

    state = shlex.quote(str(folder.parent.parent))
    return f"roll back to another generation: lightcl-edge rollback --state {state}"


def way_out(path: Path, bundle: Bundle) -> str:
    """As :func:`way_back`, for a damaged file of a generation, which may be the bundle's own under a second name."""
    import shlex

    own = bundle.folder / HEAD_PARAMETERS
    if path.name != HEAD or not own.exists() or not path.samefile(own):
        return way_back(path.parent)
    return (
        "the bundle's copy and other generations share this file; mend all of them with the bundle that the state was "
        f"made from: cp BUNDLE/{HEAD_PARAMETERS} {shlex.quote(str(own))}"
    )


def _check_head(file: TensorFile, head: HeadInfo, classes: int) -> None:
    if classes > head.capacity:
        raise ValueError(f"there are {classes} classes, expected at most {head.capacity}, the classifier's rows")
    expected = {parameter.name: ("F32", tuple(parameter.shape)) for parameter in head.parameters}
    found = file.kinds()
    for name in sorted(set(expected) | set(found)):
        if found.get(name) != expected.get(name):
            raise ValueError(f"{name[:80]!a} is {found.get(name)}, expected {expected.get(name)}")
    if not file.is_finite():
        raise ValueError("it holds NaN or infinity, expected finite numbers")


def _check_holdout(tensors: Tensors, shape: tuple[int, ...], tap_size: int, classes: int) -> None:
    if not tensors:
        return
    _check_names(tensors, {"features", "labels", "taps", "marks"})
    labels = _vector(tensors, "labels", np.int64)
    _check(tensors["features"], "features", np.uint8, (len(labels), *shape))
    _check(tensors["taps"], "taps", np.float16, (len(labels), tap_size))
    _check(tensors["marks"], "marks", np.int64, labels.shape)
    if not np.isfinite(tensors["taps"].astype(np.float16, copy=False)).all():
        raise ValueError("taps holds NaN or infinity, expected finite numbers")
    if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise ValueError(f"labels are {labels.min()} to {labels.max()}, expected 0 to {classes - 1}, the known classes")


def check_buffer(tensors: Tensors, bundle: Bundle, classes: int) -> None:
    """Check that there are no tensors, or a buffer of this trunk's features of known classes.

    Raises:
        StateError: when the buffer does not fit itself, or belongs to another trunk.
        ValueError: when it has samples of classes that are not known.
    """
    if not tensors:
        return
    identity = BufferIdentity(bundle.sha256(TRUNK), bundle.manifest.feature)
    if len(FeatureBuffer.from_tensors(tensors, identity).seen) > classes:
        raise ValueError(f"it counts samples of {len(tensors['seen'])} classes, expected at most {classes}")


def _check_strategy(tensors: Tensors, head: HeadInfo) -> None:
    """``strategy.safetensors``: masks that fit the head. Nothing reads parts of unknown strategies."""
    for key, mask in tensors.items():
        strategy, _, name = key.partition(":")
        if strategy in WITH_MASKS:
            _check_mask(name, mask, head)


def _check_mask(name: str, mask: NDArray[np.generic], head: HeadInfo) -> None:
    if name not in head.patterns:
        raise ValueError(f"it has a mask for {name[:80]!a}, expected only {head.patterns}")
    if mask.dtype not in (np.bool_, np.float32) or mask.ndim != 1 or not np.isin(mask, (0, 1)).all():
        raise ValueError(f"the mask of {name} is {mask.dtype} {mask.shape}, expected 0 or 1 for each channel")
    if name == LOGITS and len(mask) != head.capacity:
        raise ValueError(f"the mask of {name} has {len(mask)} entries, expected {head.capacity}")


def _check_names(tensors: Tensors, expected: set[str]) -> None:
    if set(tensors) != expected:
        raise ValueError(f"it holds {[name[:80] for name in sorted(tensors)][:9]}, expected {sorted(expected)}")


def _vector(tensors: Tensors, name: str, kind: type[np.generic]) -> NDArray[np.int64]:
    tensor = tensors[name]
    _check(tensor, name, kind, (tensor.size,))
    return tensor.astype(np.int64, copy=False)


def _check(tensor: NDArray[np.generic], name: str, kind: type[np.generic], shape: tuple[int, ...]) -> None:
    if tensor.dtype != kind or tensor.shape != shape:
        raise ValueError(f"{name} is {tensor.dtype} {tensor.shape}, expected {np.dtype(kind)} {shape}")


def refuse_unfit_tensors(
    folder: Path, bundle: Bundle, classes: int, head: TensorFile, tensors: Mapping[str, Tensors]
) -> None:
    """Check all files of a generation that knows so many classes.

    A StateError names the file, what was found, what was expected, and what to do.
    """
    info, shape = bundle.manifest.head, tuple(bundle.manifest.feature.shape)
    checks: dict[str, Callable[[], None]] = {
        HEAD: lambda: _check_head(head, info, classes),
        STRATEGY: lambda: _check_strategy(tensors[STRATEGY], info),
        HOLDOUT: lambda: _check_holdout(tensors[HOLDOUT], shape, info.tap_size, classes),
        BUFFER: lambda: check_buffer(tensors[BUFFER], bundle, classes),
    }
    for name, check in checks.items():
        try:
            check()
        except (ValueError, StateError) as error:
            raise StateError(f"{folder}/{name} does not fit: {error}; {way_back(folder)}") from error
