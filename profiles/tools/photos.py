"""Pictures as a camera writes them: 12 megapixels, JPEG. Their content is made up; their size is what matters."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

#: What the cameras of these boards write.
WIDTH, HEIGHT = 4056, 3040


def make_photos(
    folder: Path, names: Sequence[str], count: int, seed: int, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Path:
    """Write a folder of ``count`` photos of ``size`` (width, height) for each class; gives the folder they are in."""
    width, height = size
    rng = np.random.default_rng(seed)
    for name in names:
        (folder / name).mkdir(parents=True)
        tone = rng.integers(40, 215, 3)
        for number in range(count):
            coarse = rng.normal(tone, 30, (height // 40, width // 40, 3)).clip(0, 255).astype(np.uint8)
            whole = Image.fromarray(coarse).resize(size, Image.Resampling.BILINEAR)
            whole.save(folder / name / f"{number:03}.jpg", quality=90)
    return folder
