"""Which places of the head are tapped: by accuracy on the user's labelled images, else by a stated rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.graph_names import FEATURES, IMAGE, TAPS
from lightcl_edge.console.progress import Progress
from lightcl_edge.files.tensors import FloatArray
from lightcl_edge.inference.trunk import normalise
from lightcl_host.cutting.split import Split, split_graph
from lightcl_host.cutting.taps import MAX_TAP_SIZE, Tap, TapPlace, blocks_of, default_taps, input_taps, size_of
from lightcl_host.graphs.runner import GraphRunner, in_batches
from lightcl_host.trunks.calibration import LabelledImages
from lightcl_host.trunks.feature_quality import held_out_hits

if TYPE_CHECKING:
    import onnx

    from lightcl_host.cutting.cuts import Cut
    from lightcl_host.export.options import ExportOptions
    from lightcl_host.sources.source import Source

#: Images that differ less than this do not tell how far images lie apart.
LEAST_SPREAD = 1e-3
_DEFAULT, _MEASURED = "default", "accuracy"


@dataclass(frozen=True)
class TapTry:
    """One choice of places, and how well a closed-form classifier tells images apart by it."""

    taps: list[str]  # names of the places, the deepest first
    size: int  # numbers of one sample
    accuracy: float | None = None  # on held-out images; None when it was not measured


@dataclass(frozen=True)
class TapChoice:
    """What was chosen, and from what."""

    chosen: TapTry
    chosen_by: str = _DEFAULT  # default or accuracy
    images: int = 0  # labelled images that were predicted, each by a classifier that never saw it
    classes: int = 0
    tries: tuple[TapTry, ...] = ()

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        chosen = asdict(self.chosen)
        return {"taps": chosen.pop("taps"), **chosen, **{k: v for k, v in asdict(self).items() if k != "chosen"}}

    def provenance(self) -> dict[str, Any]:
        """For the manifest: texts and numbers."""
        if self.chosen_by == _DEFAULT:
            return {"taps_chosen_by": self.chosen_by}
        tried = "; ".join(f"{' + '.join(each.taps)} ({each.size}) {each.accuracy:.4f}" for each in self.tries)
        return {"taps_chosen_by": self.chosen_by, "taps_images": self.images, "taps_tried": tried}


def tapped_split(
    options: ExportOptions,
    source: Source,
    cut: Cut,
    default: Split,
    labelled: LabelledImages,
    features: FloatArray,
    progress: Progress,
) -> tuple[Split, TapChoice]:
    """Cut a network and choose its taps.

    Linear discriminant analysis on each choice of a short list predicts labelled images that it was not fitted on.
    Another choice than the default must be better by more than one standard error of their difference. Fewer than two
    classes with enough images leave the default. Parts are scaled to equal spread.

    Args:
        options: of the export.
        source: the network.
        cut: where it is cut.
        default: the network cut there, with the default taps.
        labelled: images of some classes, or none.
        features: of its trunk for some images, shape ``(n, *feature_shape)``: without labels they tell the spread.
        progress: tells a person what is done.
    """
    lists = short_list(default.tap_places, options.max_taps)
    labels, batches = labelled.labels, in_batches(features)
    if len(labels):
        progress.note(f"choosing what closed-form classifiers see, with {len(labels)} images")
        trunk, info = GraphRunner(default.trunk), source.input_info
        batches = (trunk({IMAGE: normalise(part, info)}, [FEATURES])[FEATURES] for part in in_batches(labelled.pixels))
    else:
        if options.max_taps > MAX_TAP_SIZE:
            progress.note("--max-taps changes nothing: taps are chosen with labelled images, and there are too few")
        lists = lists[:1]
    every = list(dict.fromkeys(replace(tap, scale=1.0) for taps in lists for tap in taps))
    parts = _parts(cut_network(options, source, cut, every).head, batches, every)
    scaled = [[replace(tap, scale=tap.scale / spread_of(parts[tap.name])) for tap in taps] for taps in lists]
    if len(lists) < 2:
        return cut_network(options, source, cut, scaled[0]), TapChoice(_tried(lists[0]))
    right = [
        held_out_hits(np.concatenate([tap.scale * parts[tap.name] for tap in taps], axis=1), labels) for taps in scaled
    ]
    tries = [_tried(taps, float(hits.mean())) for taps, hits in zip(lists, right, strict=True)]
    at = clearly_best(right)
    choice = TapChoice(tries[at], _MEASURED, len(labels), len(np.unique(labels)), tuple(tries))
    return cut_network(options, source, cut, scaled[at]), choice


def cut_network(options: ExportOptions, source: Source, cut: Cut, taps: Sequence[Tap] | None = None) -> Split:
    """Trunk and head as the options ask for, with these taps or the default ones."""
    choose = default_taps if taps is None else lambda _: taps
    return split_graph(source.graph, cut, options.capacity, options.keep_classes is not None, options.seed, choose)


def _names(taps: Sequence[Tap]) -> list[str]:
    return [tap.name for tap in taps]


def _tried(taps: Sequence[Tap], accuracy: float | None = None) -> TapTry:
    return TapTry(_names(taps), size_of(taps), accuracy)


def short_list(places: Sequence[TapPlace], most: int = MAX_TAP_SIZE) -> list[list[Tap]]:
    """The choices that are compared, of at most so many numbers, the default first.

    The last one to three blocks, with and without the penultimate, one or two with mean and spread of the input, and
    the default with the penultimate.
    """
    blocks = [Tap(place) for place in blocks_of(places)]
    given, penultimate = input_taps(places), Tap(places[0])
    shallow = [blocks[:count] + [tap for tap in given if tap.name not in _names(blocks[:count])] for count in (2, 1)]
    depths = [blocks[:count] for count in (1, 2, 3)] + [[penultimate, *blocks[:count]] for count in (0, 1, 2)]
    default = default_taps(places)
    distinct: dict[tuple[str, ...], list[Tap]] = {}
    for taps in [default, *depths, *shallow, [penultimate, *default]]:
        distinct.setdefault(tuple(dict.fromkeys(_names(taps))), list(dict.fromkeys(taps)))
    return [taps for taps in distinct.values() if taps and (size_of(taps) <= most or taps == default)]


def clearly_best(right: Sequence[NDArray[np.bool_]]) -> int:
    """The most accurate choice if it beats the first by more than one standard error of their difference, else 0.

    Args:
        right: whether each image was named correctly, shape ``(n,)``, for each choice.
    """
    best = max(range(len(right)), key=lambda at: (right[at].mean(), -at))
    ahead = right[best].astype(float) - right[0]
    return best if ahead.mean() > ahead.std() / np.sqrt(len(ahead)) else 0


def spread_of(part: FloatArray) -> float:
    """Mean distance of parts ``(n, size)`` of length 1 from their mean; 1 where they do not differ."""
    found = float(np.linalg.norm(part - part.mean(axis=0), axis=1).mean())
    return found if found > LEAST_SPREAD else 1.0


def _parts(head: onnx.ModelProto, batches: Iterable[FloatArray], taps: Sequence[Tap]) -> dict[str, FloatArray]:
    """Each tap's numbers for batches of features, shape ``(n, size)``, by its name."""
    runner = GraphRunner(head)
    found = np.concatenate([runner({FEATURES: batch}, [TAPS])[TAPS] for batch in batches])
    bounds = np.cumsum([tap.size for tap in taps])[:-1]
    return dict(zip(_names(taps), np.split(found, bounds, axis=1), strict=True))
