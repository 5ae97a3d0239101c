"""EfficientNet-Lite0's real weights recognise real photographs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.data.decoding import resize
from lightcl_edge.inference.trunk import normalise
from lightcl_models.registry import load_model

#: ImageNet's numbers of what the photographs show.
PALACE, DAISY = 698, 985


@pytest.mark.slow
def test_real_weights_name_the_sample_photographs() -> None:
    loaded = load_model("efficientnet_lite0", "default")
    recipe = loaded.recipe
    info = InputInfo(
        recipe.height, recipe.width, recipe.resize, recipe.crop_ratio, recipe.interpolation,
        list(recipe.mean), list(recipe.std), "RGB",
    )  # fmt: skip
    pixels = np.stack([resize(photograph, info) for photograph in load_sample_images().images])
    with torch.no_grad():
        best = loaded.module(torch.from_numpy(normalise(pixels, info))).argmax(dim=1)
    assert best.tolist() == [PALACE, DAISY]
