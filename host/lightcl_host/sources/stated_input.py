"""What a model file, or the files beside it, say of its input and of its classes.

Read are the metadata of the file (keys of timm, Ultralytics, OpenVINO, of the ONNX format itself and of
``lightcl-edge export``) and Hugging Face's ``preprocessor_config.json`` and ``config.json`` in the same folder.
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

Three = tuple[float, float, float]
_LONGEST = 4 * 2**20
_DEPTH_OF_TEXT = 32
#: Means above this are stated for pixels in 0..255.
_OF_BYTES = 1.5
_FILTERS = {0: "nearest", 2: "bilinear", 3: "bicubic"}  # numbers of Pillow
_RANGES = {"NominalRange_0_255": 255.0, "Normalized_0_1": 1.0}
_KEYS: dict[str, tuple[str, ...]] = {
    "mean": ("mean", "image_mean", "mean_values", "model_info mean_values"),
    "std": ("std", "image_std", "scale_values", "model_info scale_values"),
    "channel_order": ("channel_order", "color_format", "Image.BitmapPixelFormat"),
    "interpolation": ("interpolation", "resample"),
    "crop_ratio": ("crop_ratio", "crop_pct"),
    "resize": ("resize", "model_info resize_type"),
    "classes": ("classes", "class_names", "labels", "names", "id2label", "label_names", "model_info labels"),
}


@dataclass(frozen=True)
class StatedInput:
    """What was found; None where nothing says it."""

    mean: Three | None = None  # of pixels in 0..1
    std: Three | None = None  # of pixels in 0..1
    largest_pixel: float | None = None  # 255 or 1: pixels that the file's graph takes
    channel_order: str | None = None  # RGB or BGR
    resize: str | None = None  # stretch or crop
    crop_ratio: float | None = None
    interpolation: str | None = None  # bilinear, bicubic or nearest
    classes: tuple[str, ...] = ()  # in the order of the outputs
    places: Mapping[str, str] = field(default_factory=dict)  # field -> where it was read


def stated_input(model: onnx.ModelProto, path: Path) -> StatedInput:
    """What the file and those beside it say; entries that can't be read are passed over."""
    own = {entry.key: _value(entry.value) for entry in model.metadata_props}
    found = _from_entries(own, f"metadata of {path.name}")
    for name in ("preprocessor_config.json", "config.json"):
        beside = path.parent / name
        found = _completed(found, _from_entries(_json_file(beside), str(beside)))
    return found


def _completed(first: StatedInput, second: StatedInput) -> StatedInput:
    """The first, with what only the second says."""
    new = {name: getattr(second, name) for name in second.places if name not in first.places}
    return replace(first, **new, places={**second.places, **first.places})


def _value(text: str) -> Any:
    """A text as JSON, as a Python literal, or as it is."""
    if len(text) > _LONGEST or text.count("[") + text.count("{") + text.count("(") > _DEPTH_OF_TEXT:
        return text
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return text


def _json_file(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file() or path.stat().st_size > _LONGEST:
            return {}
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _from_entries(entries: dict[str, Any], place: str) -> StatedInput:
    for name in ("pretrained_cfg", "normalisation", "input"):  # groups of entries, of timm and of lightcl-edge export
        if isinstance(entries.get(name), dict):
            entries = {**entries[name], **entries}
    values: dict[str, Any] = {"largest_pixel": _largest_pixel(entries)}
    for name, keys in _KEYS.items():
        read = _READERS[name]
        values[name] = next((value for key in keys if (value := read(entries.get(key))) is not None), None)
    _finish_normalisation(entries, values)
    if values["channel_order"] is None and str(entries.get("model_info reverse_input_channels")).lower() == "true":
        values["channel_order"] = "BGR"
    if values["resize"] is None and isinstance(entries.get("do_center_crop"), bool):
        values["resize"] = "crop" if entries["do_center_crop"] else "stretch"
    if values["crop_ratio"] is None:
        values["crop_ratio"] = _crop_of(entries.get("crop_size"), entries.get("size"))
    known = {name: value for name, value in values.items() if value is not None}
    return StatedInput(**known, places=dict.fromkeys(known, place))


def _finish_normalisation(entries: dict[str, Any], values: dict[str, Any]) -> None:
    """Mean and deviation of pixels in 0..1, whichever pixels they are stated for."""
    inside = entries.get("inside_the_graph") is True
    if inside or entries.get("do_normalize") is False:
        values["mean"] = values["std"] = None
    if values["largest_pixel"] is None:
        factor = entries.get("rescale_factor")
        if entries.get("do_rescale") is False:
            values["largest_pixel"] = 255.0
        elif entries.get("do_normalize") is False and isinstance(factor, float) and factor > 0:
            values["largest_pixel"] = 1.0
    mean, std = values["mean"], values["std"]
    if mean is None or std is None or min(std) <= 0:
        values["mean"] = values["std"] = None
    elif max(*mean, *std) > _OF_BYTES:
        values["mean"], values["std"] = (tuple(number / 255 for number in each) for each in (mean, std))


def _largest_pixel(entries: dict[str, Any]) -> float | None:
    bounds = entries.get("range")
    if isinstance(bounds, list) and len(bounds) == 2 and bounds[1] in (1, 255):
        return float(bounds[1])
    return _RANGES.get(str(entries.get("Image.NominalPixelRange")))


def _three(value: Any) -> Three | None:
    if isinstance(value, str):
        value = value.replace(",", " ").split()
    try:
        first, second, third = (float(part) for part in value)
    except (TypeError, ValueError):
        return None
    return (first, second, third) if all(map(math.isfinite, (first, second, third))) else None


def _order(value: Any) -> str | None:
    text = str(value).upper()[:3]
    return text if text in ("RGB", "BGR") else None


def _filter(value: Any) -> str | None:
    if isinstance(value, int):
        return _FILTERS.get(value)
    return value.lower() if isinstance(value, str) and value.lower() in _FILTERS.values() else None


def _ratio(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and 0.1 <= value <= 1 else None


def _resize(value: Any) -> str | None:
    return {"crop": "crop", "stretch": "stretch", "standard": "stretch"}.get(str(value))


def _crop_of(cropped: Any, resized: Any) -> float | None:
    """Side of the crop over the shorter side before it, as Hugging Face states them."""
    if not isinstance(cropped, dict) or not isinstance(resized, dict):
        return None
    side, before = cropped.get("height"), resized.get("shortest_edge")
    if not isinstance(side, int) or not isinstance(before, int) or before <= 0:
        return None
    return _ratio(side / before)


def _names(value: Any) -> tuple[str, ...] | None:
    """Names of classes from a list, a text with a name a line or with commas, or a mapping of numbers to names."""
    if isinstance(value, str):
        lines = value.splitlines() if "\n" in value.strip() else value.replace(",", "\n").splitlines()
        value = lines if len(lines) > 1 else value.split()
    if isinstance(value, dict):
        try:
            numbered = {int(number): name for number, name in value.items()}
        except (TypeError, ValueError):
            return None
        if sorted(numbered) != list(range(len(numbered))):
            return None
        value = [numbered[number] for number in range(len(numbered))]
    if not isinstance(value, list | tuple) or not value or not all(isinstance(name, str) for name in value):
        return None
    return tuple(name.strip() for name in value)


_READERS: dict[str, Callable[[Any], Any]] = {
    "mean": _three, "std": _three, "channel_order": _order, "interpolation": _filter, "crop_ratio": _ratio,
    "resize": _resize, "classes": _names,
}  # fmt: skip
