"""Real images to calibrate and check a trunk with: the user's, or crops of scikit-learn's two photographs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.data.decoding import resize
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.errors import DataError
from lightcl_edge.files.tensors import IntArray
from lightcl_edge.inference.trunk import normalise

#: Enough for stable ranges of activations; more images only take longer.
CALIBRATION_IMAGES = 128
#: Fewer images are not divided, because half of them would be too few.
FEW_IMAGES = 64
#: Fewer images of a class say too little; more images in all, or fewer of each of more classes, only take longer.
FEWEST_OF_A_CLASS, MOST_CLASSES, MOST_IMAGES = 8, 32, 1024
#: Crops of the photographs have a shorter side of at least this share of the photograph's.
_SMALLEST_CROP = 0.5


@dataclass(frozen=True)
class Calibration:
    """Images at the network's input size."""

    origin: str  # where they come from, for the report
    pixels: NDArray[np.uint8]  # RGB, uint8, shape ``(n, height, width, 3)``
    images: NDArray[np.float32]  # normalised, float32, shape ``(n, 3, height, width)``
    skipped: int = 0  # how many files could not be read


def calibration_images(spec: str | None, info: InputInfo, seed: int, count: int = CALIBRATION_IMAGES) -> Calibration:
    """At most ``count`` images, chosen at random.

    They come from a data specification, or are crops of scikit-learn's photographs where that is None. Raises
    DataError when none can be read.
    """
    if spec is None:
        pixels = _photograph_crops(info, seed, count)
        return Calibration("crops of scikit-learn's sample photographs", pixels, normalise(pixels, info))
    dataset = open_dataset(spec)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(dataset))[:count])
    loaded = []
    for index in chosen:
        try:
            loaded.append(dataset.load(int(index), info))
        except DataError as error:
            reason = error
    if not loaded:
        raise DataError(f"none of the {len(chosen)} images of {spec} can be read; the last said: {reason}")
    pixels = np.stack(loaded)
    return Calibration(spec, pixels, normalise(pixels, info), skipped=len(chosen) - len(loaded))


@dataclass(frozen=True)
class LabelledImages:
    """Images at the network's input size, about as many of each class and class by class; none where there are few."""

    pixels: NDArray[np.uint8]  # RGB, shape ``(n, height, width, 3)``
    labels: IntArray  # shape ``(n,)``


def labelled_images(spec: str | None, info: InputInfo, seed: int) -> LabelledImages:
    """At most :data:`MOST_IMAGES`, of at least two classes with :data:`FEWEST_OF_A_CLASS` or more; else none."""
    if spec is None:
        return LabelledImages(np.zeros((0, info.height, info.width, 3), np.uint8), np.zeros(0, np.int64))
    dataset = open_dataset(spec)
    shuffled = np.random.default_rng([seed, 2]).permutation(len(dataset))
    classes = np.flatnonzero(np.bincount(dataset.labels) >= FEWEST_OF_A_CLASS)[:MOST_CLASSES]
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
    chosen = np.array([pixels[at] for at in kept], np.uint8).reshape(shape)
    return LabelledImages(chosen, np.array(labels, np.int64)[kept])


def divide(count: int) -> tuple[slice, slice]:
    """Every second of ``count`` images to calibrate with, the others to check with; few images serve for both."""
    if count < FEW_IMAGES:
        return slice(None), slice(None)
    return slice(0, None, 2), slice(1, None, 2)


def _photograph_crops(info: InputInfo, seed: int, count: int) -> NDArray[np.uint8]:
    """The two whole photographs, then seeded square crops of many sizes, every second one mirrored."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    generator = np.random.default_rng(seed)
    pictures = [resize(photograph, info) for photograph in photographs]
    while len(pictures) < count:
        photograph = photographs[len(pictures) % len(photographs)]
        shorter = min(photograph.shape[:2])
        side = int(generator.uniform(_SMALLEST_CROP, 1.0) * shorter)
        top = int(generator.integers(photograph.shape[0] - side + 1))
        left = int(generator.integers(photograph.shape[1] - side + 1))
        crop = photograph[top : top + side, left : left + side]
        pictures.append(resize(np.ascontiguousarray(crop[:, ::-1] if generator.random() < 0.5 else crop), info))
    return np.stack(pictures[:count])
