"""Files of tensors are read whole or one tensor at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.errors import BundleError
from lightcl_edge.files.tensors import TensorFile
from small_bundle import make_bundle


def test_tensors_of_a_file_one_by_one(tmp_path: Path) -> None:
    bundle = Bundle.open(make_bundle(tmp_path / "plain"))
    path = bundle.path("head.safetensors")
    tensors, expected = TensorFile(path, BundleError), bundle.head_parameters()
    assert set(tensors) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(tensors[name], value)
    with pytest.raises(KeyError):
        tensors["absent"]
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(path.read_bytes()[:100])
    with pytest.raises(BundleError, match=r"damaged\.safetensors is damaged .*; expected a safetensors file"):
        TensorFile(damaged, BundleError)
    with pytest.raises(BundleError, match="missing"):
        TensorFile(tmp_path / "none.safetensors", BundleError)
