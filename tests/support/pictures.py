"""Small pictures as JPEG files."""

import io

import numpy as np
from PIL import Image


def jpeg(seed=0, width=24, height=16, **options):
    """A JPEG file of noise that differs with the seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, options.pop("format", "JPEG"), **options)
    return out.getvalue()


def size_of(data):
    return Image.open(io.BytesIO(data)).size
