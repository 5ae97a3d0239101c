"""Features as bytes, and the 8-bit trunk."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_host.cutting.cuts import choose_by_name, find_cuts
from lightcl_host.cutting.split import Split, split_graph
from lightcl_host.graphs.runner import relative_difference
from lightcl_host.trunks.dtype_choice import trunk_features
from lightcl_host.trunks.feature_storage import RANGE_MARGIN, feature_info, signal_to_noise_db
from lightcl_host.trunks.int8 import quantize_trunk

finite = st.floats(-1e4, 1e4, width=32)


@settings(max_examples=60, deadline=None)
@given(hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=4, max_side=4), elements=finite), st.booleans())
def test_stored_features_are_half_a_step_from_the_real_ones(features: np.ndarray, tokens: bool) -> None:
    info = feature_info(features, features.ndim - 2 if tokens else 0)
    codec = FeatureCodec(info)
    step = np.asarray(info.scale) if tokens else np.asarray(info.scale).reshape(-1, *[1] * (features.ndim - 2))
    error = np.abs(codec.decode(codec.encode(features)) - features)
    assert (error <= step * 0.5001 + 1e-6 * np.abs(features)).all()
    assert (codec.decode(codec.encode(np.zeros_like(features))) == 0).all()
    assert len(info.scale) == features.shape[-1 if tokens else 1] and min(info.scale) > 0


def test_other_images_may_reach_a_little_further() -> None:
    seen = np.random.default_rng(0).uniform(0, 6, (50, 3, 2, 2)).astype(np.float32)
    codec = FeatureCodec(feature_info(seen))
    beyond = seen.max() * (1 + 0.9 * RANGE_MARGIN) * np.ones((1, 3, 2, 2), np.float32)
    assert relative_difference(codec.decode(codec.encode(beyond)), beyond) < 0.01


def test_signal_to_noise() -> None:
    signal = np.ones((1, 100), np.float32)
    assert signal_to_noise_db(signal, signal * 1.1) == pytest.approx(20, abs=0.01)
    assert signal_to_noise_db(signal, signal) is None


@pytest.fixture(scope="module")
def parts(residual: onnx.ModelProto) -> Split:
    return split_graph(residual, choose_by_name(find_cuts(residual), "stage2.0"), 7, keep_classes=True, seed=0)


def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(24, 3, 16, 16)).astype(np.float32)


def test_the_8_bit_trunk_is_close_and_standard_onnx(parts: Split) -> None:
    before = parts.trunk.SerializeToString()
    quantised = quantize_trunk(parts.trunk, images())
    assert parts.trunk.SerializeToString() == before
    onnx.checker.check_model(quantised, full_check=True)
    assert {entry.domain for entry in quantised.opset_import} == {""}
    kinds = {info.type.tensor_type.elem_type for info in [*quantised.graph.input, *quantised.graph.output]}
    assert kinds == {onnx.TensorProto.FLOAT}
    noise = signal_to_noise_db(trunk_features(parts.trunk, images()), trunk_features(quantised, images()))
    assert noise is not None and noise > 20
    assert quantize_trunk(parts.trunk, images()).SerializeToString() == quantised.SerializeToString()
