"""Files of tensors are read whole or one tensor at a time."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from safetensors.numpy import load_file

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.errors import BundleError
from lightcl_edge.files.tensors import TensorFile, read_tensors, write_tensors
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


@given(arrays(st.sampled_from((np.float32, np.float64, np.int64, np.uint8, np.bool_)), array_shapes(min_side=0)))
def test_any_layout_is_written_row_by_row(array: np.ndarray) -> None:
    """An independent reader gets the same values back, and the hash is that of the file."""
    tensors = {"as it lies": array, "reversed axes": array.T, "every second": array[::2], "one number": array.sum()}
    tensors["one number"] = np.asarray(tensors["one number"], np.float64)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "new" / "t"
        digest = write_tensors(path, tensors)
        assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
        found = load_file(path)
        assert set(found) == set(tensors)
        for name, value in tensors.items():
            np.testing.assert_array_equal(found[name], value)


def test_a_large_transposed_tensor_is_copied_in_pieces(tmp_path: Path) -> None:
    tensor = np.arange(9 * 300 * 200, dtype=np.float32).reshape(9, 300, 200).transpose(1, 2, 0)
    write_tensors(tmp_path / "t", {"kernel": tensor})
    np.testing.assert_array_equal(load_file(tmp_path / "t")["kernel"], tensor)
    tracemalloc.start()
    write_tensors(tmp_path / "t", {"kernel": tensor})
    assert tracemalloc.get_traced_memory()[1] < 2**20 < tensor.nbytes
    tracemalloc.stop()


def test_no_file_begins_like_a_pickle(tmp_path: Path) -> None:
    for length in range(1, 270, 8):
        write_tensors(tmp_path / "t", {"x" * length: np.zeros(3, np.float32), "y": np.ones(2, np.uint8)})
        assert (tmp_path / "t").read_bytes()[0] != 0x80
        found = read_tensors(tmp_path / "t", BundleError)
        assert found["x" * length].tolist() == [0, 0, 0]
        assert load_file(tmp_path / "t").keys() == found.keys()
