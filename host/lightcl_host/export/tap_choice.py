"""Which places of the head are tapped: by accuracy on the user's labelled images, else by a stated rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.graph_names import FEATURES, IMAGE, TAPS
from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.data.sums import Pooled
from lightcl_edge.errors import DataError
from lightcl_edge.files.tensors import FloatArray, IntArray
from lightcl_edge.inference.trunk import normalise
from lightcl_edge.learning.closed_form.analysis import analysis_rows
from lightcl_host.cutting.split import Split, split_graph
from lightcl_host.cutting.taps import TapPlace, blocks_of, default_taps, fits
from lightcl_host.graphs.runner import BATCH, GraphRunner

if TYPE_CHECKING:
    from lightcl_host.cutting.cuts import Cut
    from lightcl_host.export.options import ExportOptions
    from lightcl_host.sources.source import Source

#: Fewer images of a class say too little; more images in all only take longer.
FEWEST_OF_A_CLASS, MOST_IMAGES = 8, 1024
_FOLDS = 4
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


def tapped_split(options: ExportOptions, source: Source, cut: Cut, progress: Progress) -> tuple[Split, TapChoice]:
    """Cut a network and choose its taps.

    Linear discriminant analysis on each choice of a short list predicts labelled images that it was not fitted on. The
    smallest choice within one standard error of the best is taken. Fewer than two classes of at least
    :data:`FEWEST_OF_A_CLASS` images leave the default.
    """
    split = partial(split_graph, source.graph, cut, options.capacity, options.keep_classes is not None, options.seed)
    default = split()
    names = [place.name for place in default_taps(default.tap_places)]
    lists, unmeasured = short_list(default.tap_places), TapChoice(TapTry(names, default.head_info.tap_size))
    if options.calibration is None or len(lists) < 2:
        return default, unmeasured
    images, labels = _labelled(options.calibration, source.input_info, options.seed)
    if not len(labels):
        return default, unmeasured
    progress.note(f"choosing what closed-form classifiers see, with {len(labels)} images")
    every = list(dict.fromkeys(place for places in lists for place in places))
    parts = _taps(split(choose=lambda _: every), images, source.input_info, every)
    right = [held_out_hits(np.concatenate([parts[place] for place in places], axis=1), labels) for places in lists]
    tries = [
        TapTry([place.name for place in places], sum(place.size for place in places), float(hits.mean()))
        for places, hits in zip(lists, right, strict=True)
    ]
    at = smallest_near_best([each.size for each in tries], right)
    choice = TapChoice(tries[at], _MEASURED, len(labels), len(np.unique(labels)), tuple(tries))
    return split(choose=lambda _: lists[at]), choice


def short_list(places: Sequence[TapPlace]) -> list[list[TapPlace]]:
    """The choices that are compared: the last one to three blocks, with and without the penultimate."""
    blocks = blocks_of(places)
    depths = [blocks[:count] for count in (1, 2, 3)] + [[places[0], *blocks[:count]] for count in (0, 1, 2)]
    distinct = dict.fromkeys(tuple(dict.fromkeys(each)) for each in [default_taps(places), *depths])
    return [list(each) for each in distinct if each and (fits(each) or list(each) == default_taps(places))]


def smallest_near_best(sizes: Sequence[int], right: Sequence[NDArray[np.bool_]]) -> int:
    """The smallest choice that is at most one standard error of their difference behind the best.

    Args:
        sizes: numbers of a sample, for each choice.
        right: whether each image was named correctly, shape ``(n,)``, for each choice.
    """
    best = max(range(len(right)), key=lambda at: (right[at].mean(), -sizes[at]))

    def near(at: int) -> bool:
        behind = right[best].astype(float) - right[at]
        return bool(behind.mean() <= behind.std() / np.sqrt(len(behind)))

    return min(filter(near, range(len(right))), key=lambda at: (sizes[at], -right[at].mean()))


def held_out_hits(taps: FloatArray, labels: IntArray) -> NDArray[np.bool_]:
    """Whether linear discriminant analysis names each sample correctly when it is fitted without it, shape ``(n,)``.

    Samples are divided into folds, each class alike. Every class needs at least two samples.
    """
    fold = np.zeros(len(labels), np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        fold[rows] = np.arange(len(rows)) % _FOLDS
    hits = np.zeros(len(labels), np.bool_)
    for held in range(_FOLDS):
        fitted = fold != held
        hits[~fitted] = _predict(taps[fitted], labels[fitted], taps[~fitted]) == labels[~fitted]
    return hits


def _predict(taps: FloatArray, labels: IntArray, others: FloatArray) -> IntArray:
    known, row, counts = np.unique(labels, return_inverse=True, return_counts=True)
    means = np.stack([taps[row == at].mean(axis=0, dtype=np.float64) for at in range(len(known))])
    apart = taps - means[row]
    rows = analysis_rows(Pooled(counts, means, apart.T @ apart))
    return np.asarray(known[(others @ rows.weights.T + rows.biases).argmax(axis=1)], np.int64)


def _labelled(spec: str, info: InputInfo, seed: int) -> tuple[NDArray[np.uint8], IntArray]:
    """Pixels ``(n, height, width, 3)`` and classes ``(n,)``, as many of each class; none where there are too few."""
    dataset = open_dataset(spec)
    shuffled = np.random.default_rng([seed, 2]).permutation(len(dataset))
    classes = np.flatnonzero(np.bincount(dataset.labels) >= FEWEST_OF_A_CLASS)[: MOST_IMAGES // FEWEST_OF_A_CLASS]
    pixels, labels = [], []
    for label in classes if len(classes) > 1 else ():
        for index in shuffled[dataset.labels[shuffled] == label][: MOST_IMAGES // len(classes)]:
            try:
                pixels.append(dataset.load(int(index), info))
            except DataError:
                continue  # calibration counts what can't be read
            labels.append(int(label))
    enough = {label for label in set(labels) if labels.count(label) >= FEWEST_OF_A_CLASS}
    kept = [at for at, label in enumerate(labels) if label in enough and len(enough) > 1]
    shape = (len(kept), info.height, info.width, 3)
    return np.array([pixels[at] for at in kept], np.uint8).reshape(shape), np.array(labels, np.int64)[kept]


def _taps(
    split: Split, pixels: NDArray[np.uint8], info: InputInfo, places: Sequence[TapPlace]
) -> dict[TapPlace, FloatArray]:
    """Each place's part of the taps, shape ``(n, size)``."""
    trunk, head = GraphRunner(split.trunk), GraphRunner(split.head)
    found = []
    for at in range(0, len(pixels), BATCH):
        features = trunk({IMAGE: normalise(pixels[at : at + BATCH], info)}, [FEATURES])
        found.append(head(features, [TAPS])[TAPS])
    bounds = np.cumsum([place.size for place in places])[:-1]
    return dict(zip(places, np.split(np.concatenate(found), bounds, axis=1), strict=True))
