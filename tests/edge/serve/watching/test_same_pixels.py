"""What is learned of a frame is what was predicted of it, pixel by pixel, with and without a region."""

import numpy as np
import pytest

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.data.decoding import load_image
from lightcl_edge.data.region import Region
from lightcl_edge.serve.teaching.taught import TaughtPictures
from lightcl_edge.serve.watching.recogniser import _pixels
from pictures import jpeg


class Predictor:
    grey_range = None

    def __init__(self, fit):
        self.input = InputInfo(24, 24, fit, 0.9, "bilinear", [0.5] * 3, [0.5] * 3, "RGB")


@pytest.mark.parametrize("fit", ["stretch", "crop"])
@pytest.mark.parametrize("region", [None, Region(), Region(0.25, 0.5, 0.5, 0.4)])
def test_predicted_pixels_are_taught_pixels(tmp_path, fit, region):
    frame, predictor, taught = jpeg(4, 320, 240), Predictor(fit), TaughtPictures(tmp_path / "spool")
    taught.add("cat", frame, region)
    (path,) = (tmp_path / "spool" / "cat").iterdir()
    predicted = _pixels(frame, region or Region(), predictor, "the frame")
    np.testing.assert_array_equal(load_image(path, predictor.input), predicted)
