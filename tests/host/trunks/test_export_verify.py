"""The split is run against the original in a fresh process, and a wrong one is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from lightcl_edge.errors import BundleError
from lightcl_host.cutting.cuts import choose_by_name, find_cuts
from lightcl_host.cutting.split import Split, split_graph
from lightcl_host.graphs.graph import to_array, to_tensor
from lightcl_host.graphs.runner import GraphRunner
from lightcl_host.trunks.verification import TOLERANCE, verify_in_fresh_process


@pytest.fixture(scope="module")
def parts(residual: onnx.ModelProto) -> Split:
    return split_graph(residual, choose_by_name(find_cuts(residual), "stage2.0"), 7, keep_classes=False, seed=0)


def images() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)


def logits(model: onnx.ModelProto) -> np.ndarray:
    return GraphRunner(model)({"image": images()}, ["logits"])["logits"]


def scaled(model: onnx.ModelProto, name: str, factor: float) -> onnx.ModelProto:
    """A copy with one weight multiplied."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(to_tensor((to_array(tensor) * factor).astype(np.float32), name))
    return copy


def test_a_true_split_is_accepted(residual: onnx.ModelProto, parts: Split) -> None:
    assert verify_in_fresh_process(residual, parts, images(), logits(residual)) <= TOLERANCE


def test_a_tampered_head_is_found_with_numbers(residual: onnx.ModelProto, parts: Split) -> None:
    wrong = replace(parts, head=scaled(parts.head, "stage2.1.conv1.weight", 1.01))
    with pytest.raises(
        BundleError, match=r"trunk and head against .*difference 0\.0\d+ over 2 images, expected at most 0.0001"
    ):
        verify_in_fresh_process(residual, wrong, images(), logits(residual))


def test_another_original_is_found(residual: onnx.ModelProto, parts: Split) -> None:
    with pytest.raises(BundleError, match="trunk and head against the original network"):
        verify_in_fresh_process(residual, parts, images(), logits(residual) * 1.001)


def test_parts_that_do_not_run_are_an_error(residual: onnx.ModelProto, parts: Split) -> None:
    broken = onnx.ModelProto()
    broken.CopyFrom(parts.trunk)
    broken.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(BundleError, match=r"the exported parts do not run \(exit code 1\)"):
        verify_in_fresh_process(residual, replace(parts, trunk=broken), images(), logits(residual))
