"""Real images to calibrate and check with: the user's own, or crops of scikit-learn's two photographs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.data.decoding import resize
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.errors import DataError
from lightcl_edge.inference.trunk import normalise

#: Enough for stable activation ranges; more only takes longer.
CALIBRATION_IMAGES = 128
#: Fewer are not divided: both halves would be too few.
FEW_IMAGES = 64
#: Crops of the photographs have a shorter side of at least this share of the photograph's.
_SMALLEST_CROP = 0.5


@dataclass(frozen=True)
class Calibration:
    """Images at the network's input size.

    Attributes:
        origin: where they come from, for the report.
        pixels: RGB, uint8, shape ``(n, height, width, 3)``.
        images: normalised, float32, shape ``(n, 3, height, width)``.
        skipped: how many files could not be read.
    """

    origin: str
    pixels: NDArray[np.uint8]
    images: NDArray[np.float32]
    skipped: int = 0


def calibration_images(spec: str | None, info: InputInfo, seed: int, count: int = CALIBRATION_IMAGES) -> Calibration:
    """Images for calibration.

    Args:
        spec: a data specification, or None for crops of the two photographs that scikit-learn carries.
        info: size and normalisation of the network's input.
        seed: of the choice of images or crops.
        count: how many at most.

    Returns:
        The images.

    Raises:
        DataError: when the specification names no readable images.
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


def divide(calibration: Calibration) -> tuple[Calibration, Calibration]:
    """Every second image to calibrate with, the others to check with; few images serve for both.

    Args:
        calibration: all that were loaded.

    Returns:
        To calibrate with, and to check with.
    """
    if len(calibration.pixels) < FEW_IMAGES:
        return calibration, calibration
    parts = [
        Calibration(calibration.origin, calibration.pixels[start::2], calibration.images[start::2], calibration.skipped)
        for start in (0, 1)
    ]
    return parts[0], parts[1]


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
