"""Grey of more than 8 bits: a thermal camera's pictures are told apart as their 8-bit copies are."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lightcl_edge.data import grey_range
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.errors import DataError
from lightcl_edge.state.state import State


def frames(folder, seed, *, deep, count=12, kind="png"):
    """Two classes of noisy grey pictures, dark and bright, as 8 bits or as the 14-bit values of a thermal camera."""
    rng = np.random.default_rng(seed)
    for name, grey in (("cold", 90), ("warm", 150)):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = rng.normal(grey, 40, (20, 20)).clip(0, 255).round()
            pixels = (28_000 + 4 * pixels).astype(np.uint16) if deep else pixels.astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.{kind}")
    return folder


def test_a_thermal_camera_is_told_apart_as_well_as_its_8_bit_copy(edge, bundle, tmp_path):
    found = {}
    for deep in (False, True):
        state = tmp_path / f"s{deep}"
        data, test = (frames(tmp_path / f"{name}{deep}", seed, deep=deep) for name, seed in (("d", 1), ("t", 2)))
        out, err = edge("train", "--bundle", bundle, "--state", state, "--data", data, "--json")
        assert ("from now on in this state" in err) == deep == bool(json.loads(out)["notes"])
        found[deep] = json.loads(edge("evaluate", "--state", state, "--data", test, "--json")[0])["accuracy"]
    assert found[True] == pytest.approx(found[False], abs=0.05) and found[True] > 0.85
    low, high = State(tmp_path / "sTrue").read().meta.grey_range
    assert 28_000 <= low < 28_100 and 28_900 < high <= 29_020
    # a later data set does not change it, and it outlives forgetting
    warmer = frames(tmp_path / "later", 3, deep=True)
    for path in warmer.rglob("*.png"):
        Image.fromarray(np.asarray(Image.open(path)) + 3000).save(path)
    edge("train", "--state", tmp_path / "sTrue", "--data", warmer, "--max-forgetting", 1)
    edge("forget", "--state", tmp_path / "sTrue", "--class", "cold")
    assert State(tmp_path / "sTrue").read().meta.grey_range == (low, high)


def test_prediction_scales_as_training_did(edge, bundle, tmp_path):
    """A single flat picture has no range of its own: only what the state recorded tells warm from cold."""
    data = frames(tmp_path / "d", 1, deep=True)
    edge("train", "--bundle", bundle, "--state", tmp_path / "s", "--data", data, "--quiet")
    for name, grey in (("cold", 90), ("warm", 150)):
        Image.fromarray(np.full((20, 20), 28_000 + 4 * grey, np.uint16)).save(tmp_path / f"{name}.png")
        out = edge("predict", "--state", tmp_path / "s", tmp_path / f"{name}.png", "--json")[0]
        assert json.loads(out)["predictions"][0]["top"][0]["class"] == name


@given(st.integers(0, 60_000), st.integers(256, 5000), st.integers(0, 2**32 - 1))
def test_scaling_keeps_order_and_uses_all_of_the_range(low, width, seed):
    pixels = np.random.default_rng(seed).integers(low, low + width, (30, 30)).astype(np.uint16)
    image = Image.fromarray(pixels)
    found = np.asarray(grey_range.with_eight_bits(image, "a", (low, low + width))).astype(np.float64)
    assert np.abs(found - (pixels - np.float64(low)) * 255 / width).max() <= 0.51
    own = np.asarray(grey_range.with_eight_bits(image, "a", None))
    assert own.min() == 0 and own.max() == 255


def test_broken_pixels_do_not_decide(tmp_path):
    pixels = np.linspace(28_000, 29_000, 64 * 64).astype(np.uint16).reshape(64, 64)
    pixels[0, 0], pixels[5, 5] = 65_535, 0
    low, high = grey_range.range_of(Image.fromarray(pixels), "a")
    assert (low, high) == (pytest.approx(28_000, abs=3), pytest.approx(29_000, abs=3))


def test_numbers_of_any_kind_have_a_range(tmp_path):
    (tmp_path / "d" / "a").mkdir(parents=True)
    degrees = np.linspace(-20.5, 35.5, 64).astype(np.float32).reshape(8, 8)
    Image.fromarray(degrees).save(tmp_path / "d" / "a" / "degrees.tif")
    dataset = open_dataset(str(tmp_path / "d"))
    assert dataset.survey_grey() == (-20.5, 35.5) and dataset.image(0)[..., 0].max() == 255
    degrees[0, 0] = np.nan
    Image.fromarray(degrees).save(tmp_path / "d" / "a" / "degrees.tif")
    with pytest.raises(DataError, match="no numbers"):
        dataset.image(0)
    Image.new("RGB", (4, 4)).save(tmp_path / "d" / "a" / "degrees.tif")
    assert dataset.survey_grey() is None
