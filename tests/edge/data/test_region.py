"""The part of a picture that its owner drew: the same pixels live and from a file."""

import io
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.data.decoding import load_image, resize
from lightcl_edge.data.region import WHOLE, Region, crop
from lightcl_edge.errors import DataError, UsageError
from pictures import jpeg

share = st.floats(0, 1)


@given(share, share, share, share, st.integers(1, 700), st.integers(1, 700))
def test_a_region_covers_its_share_of_every_picture_and_stays_inside(x, y, width, height, across, down):
    width, height = min(width, 1 - x), min(height, 1 - y)
    if width <= 0 or height <= 0:
        with pytest.raises(UsageError, match="expected shares of the picture"):
            Region(x, y, width, height)
        return
    left, top, right, bottom = Region(x, y, width, height).box(across, down)
    assert 0 <= left < right <= across
    assert 0 <= top < bottom <= down
    assert abs((right - left) - width * across) <= 2
    assert abs((bottom - top) - height * down) <= 2


@pytest.mark.parametrize(
    "sides", [(-0.1, 0, 1, 1), (0, 0, 1.1, 1), (0.5, 0, 0.6, 1), (0, 0, 0, 1), (math.nan, 0, 1, 1)]
)
def test_a_region_that_leaves_the_picture_is_refused(sides):
    with pytest.raises(UsageError, match="stay inside it"):
        Region(*sides)


@pytest.mark.parametrize("fit", ["stretch", "crop"])
def test_what_is_predicted_live_is_what_a_file_without_loss_teaches(tmp_path, fit):
    info = InputInfo(24, 24, fit, 0.9, "bilinear", [0.5] * 3, [0.5] * 3, "RGB")
    pixels = crop(jpeg(4, 320, 240), Region(0.25, 0.5, 0.5, 0.4))
    assert pixels.shape == (96, 160, 3)
    Image.fromarray(pixels).save(tmp_path / "kept.png")
    np.testing.assert_array_equal(load_image(tmp_path / "kept.png", info), resize(pixels, info))


def test_a_region_lies_in_the_upright_picture():
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[:, :15] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: the bright left half is on top
    out = io.BytesIO()
    Image.fromarray(picture).save(out, "JPEG", exif=exif)
    assert crop(out.getvalue(), WHOLE).shape == (30, 20, 3)
    assert crop(out.getvalue(), Region(0, 0, 1, 0.4)).min() > 200
    assert crop(out.getvalue(), Region(0, 0.6, 1, 0.4)).max() < 50
    assert crop(picture, Region(0, 0, 0.4, 1)).min() == 255


def test_a_damaged_picture_is_named():
    with pytest.raises(DataError, match="the picture is damaged"):
        crop(jpeg(0, 200, 200)[:2000])
