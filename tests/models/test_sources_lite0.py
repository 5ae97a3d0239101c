"""EfficientNet-Lite0's real weights recognise real photographs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightcl_edge.data.decoding import resize
from lightcl_edge.inference.trunk import normalise
from lightcl_models.registry import load_model

#: ImageNet's numbers of what the photographs show.
PALACE, DAISY = 698, 985


@pytest.mark.slow
def test_real_weights_name_the_sample_photographs() -> None:
    from sklearn.datasets import load_sample_images

    loaded = load_model("efficientnet_lite0", "default")
    pixels = np.stack([resize(photograph, loaded.input_info) for photograph in load_sample_images().images])
    with torch.no_grad():
        best = loaded.module(torch.from_numpy(normalise(pixels, loaded.input_info))).argmax(dim=1)
    assert best.tolist() == [PALACE, DAISY]
