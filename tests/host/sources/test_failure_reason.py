"""Why a network can't be used, in one plain line."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from lightcl_edge.errors import UsageError
from lightcl_host.graphs.runner import GraphRunner
from lightcl_host.sources.failure_reason import failure_reason
from lightcl_host.sources.torch_source import export_module


class OneSize(torch.nn.Module):
    """Refuses other sizes, as vision transformers do."""

    def forward(self, images):
        torch._assert(images.shape[2] == 32, f"Wrong image height! Expected 32 but got {images.shape[2]}!")
        return images.mean((2, 3))


class OneImage(torch.nn.Module):
    """Puts one token before each image."""

    def __init__(self):
        super().__init__()
        self.token = torch.nn.Parameter(torch.zeros(1, 3, 1))

    def forward(self, images):
        tokens = torch.cat([self.token.expand(images.shape[0], -1, -1), images.flatten(2)], 2)
        return tokens.mean(2)


def test_the_exporter_s_own_cause_is_told():
    with pytest.raises(UsageError) as caught:
        export_module(OneSize(), 16, 16)
    assert str(caught.value) == (
        "PyTorch can't export the network at 16 x 16 pixels: Wrong image height! Expected 32 but got 16!; "
        "try another --image-size or give the network as an .onnx file"
    )


def test_a_constant_beside_the_image_is_no_obstacle():
    """Its export for one image joins a token of one row to each image's: any number of images must do."""
    with torch.no_grad():
        images = torch.randn(3, 3, 16, 16)
        expected = OneImage()(images).numpy()
    found = GraphRunner(export_module(OneImage(), 16, 16))({"image": images.numpy()}, ["logits"])["logits"]
    assert np.allclose(found, expected, atol=1e-6)


def test_a_reason_is_one_line_without_colours():
    first = ValueError("\x1b[96mtoo\x1b[0m large\nmore")
    try:
        try:
            raise first
        except ValueError as error:
            raise RuntimeError("failed, next steps:") from error
    except RuntimeError as error:
        assert failure_reason(error) == "too large"
    assert failure_reason(KeyError()) == "KeyError"
    assert failure_reason(ValueError("word " * 99)).endswith("word ...")
