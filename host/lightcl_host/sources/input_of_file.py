"""The input of an ``.onnx`` file: what its graph shows, what it states, and what is assumed, each said aloud."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_host.sources.first_layer import expects_bytes
from lightcl_host.sources.stated_input import StatedInput
from lightcl_models.loaded_model import rgb_input

if TYPE_CHECKING:
    import onnx

    from lightcl_host.sources.onnx_source import ForeignGraph
    from lightcl_host.sources.options import SourceOptions

_NORMALISATION = ("mean", "std")
_PREPARATION = ("channel_order", "resize", "crop_ratio", "interpolation")
_BYTES = 255.0


@dataclass(frozen=True)
class FileInput:
    """How an image becomes the input of a file."""

    info: InputInfo  # before what the command line sets
    assumed: tuple[str, ...]  # fields that nothing says; the usual values stand there
    notes: tuple[str, ...]  # to be told


def input_of_file(foreign: ForeignGraph, graph: onnx.ModelProto, options: SourceOptions) -> FileInput:
    """The input; ``graph`` is the file's normal form."""
    stated, notes = foreign.stated, list[str]()
    asked = {name for name in (*_NORMALISATION, *_PREPARATION) if getattr(options, name) is not None}
    if options.scale is not None:
        asked |= set(_NORMALISATION)
    info, known = _normalisation(foreign, asked, notes)
    for name in _PREPARATION:
        if getattr(stated, name) is not None:
            info = replace(info, **{name: getattr(stated, name)})
            known.add(name)
    if read := [name for name in (*_NORMALISATION, *_PREPARATION) if name in known and name in stated.places]:
        places = dict.fromkeys(stated.places[name] for name in read)
        notes.append(f"read from the {' and the '.join(places)}: {_values(info, read)}")
    assumed = tuple(name for name in (*_NORMALISATION, *_PREPARATION) if name not in known | asked)
    if assumed:
        of_pixels = (
            "; --mean and --std are of pixels in 0..1, or of those that --scale names" if "mean" in assumed else ""
        )
        notes.append(f"the file does not say, so these are assumed: {_values(info, assumed)}{of_pixels}")
    if not asked & set(_NORMALISATION) and expects_bytes(graph, info):
        notes.append(
            "doubt: the first layer's weights are so small that it seems to expect pixels in 0..255; "
            "if so, add --mean 0,0,0 --std 1,1,1 --scale 255"
        )
    return FileInput(info, assumed, (*notes, *_of_classes(stated)))


def _normalisation(foreign: ForeignGraph, asked: set[str], notes: list[str]) -> tuple[InputInfo, set[str]]:
    """Mean and deviation: inside the graph, as the file states them, or the usual ones."""
    inside, stated = foreign.preprocessing(), foreign.stated
    usual = rgb_input(foreign.height, foreign.width)
    largest = _BYTES if foreign.as_bytes else stated.largest_pixel or 1.0
    if inside is not None:
        largest = max(largest, inside.largest_pixel)
        notes.append(f"the file computes {inside.describe()} itself, so it expects pixels in 0..{largest:g}")
        if asked & set(_NORMALISATION):
            notes.append("--mean, --std and --scale come on top of that")
    elif foreign.as_bytes:
        notes.append("the file takes bytes, so it expects pixels in 0..255")
    if inside is not None or foreign.as_bytes or (stated.mean is None and stated.largest_pixel is not None):
        info = replace(usual, mean=[0.0] * 3, std=[1 / largest] * 3)
        return info, set(_NORMALISATION)
    if stated.mean is None or stated.std is None:
        return usual, set()
    return replace(usual, mean=list(stated.mean), std=list(stated.std)), set(_NORMALISATION)


def _values(info: InputInfo, names: Sequence[str]) -> str:
    """Fields as options of the command line, of pixels in 0..1."""
    return ", ".join(f"--{name.replace('_', '-')} {_text(getattr(info, name))}" for name in names)


def _text(value: object) -> str:
    return ",".join(f"{number:.4g}" for number in value) if isinstance(value, list) else f"{value}"


def _of_classes(stated: StatedInput) -> list[str]:
    if not stated.classes:
        return ["the file does not name its classes; --keep-classes FILE keeps them by the names in a text file"]
    few, where = ", ".join(stated.classes[:3]), stated.places["classes"]
    return [f"the {where} names {len(stated.classes)} classes ({few}, ...); --keep-classes own keeps them"]
