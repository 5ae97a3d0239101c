"""Sessions add up bytes exactly, in the fastest way that does so on this processor."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lightcl_edge.inference import sessions
from lightcl_edge.inference.sessions import EXACT_INTEGERS, inference_session, integer_options


@pytest.mark.parametrize(
    ("cpuinfo", "slower"),
    [
        ("flags\t\t: fma avx2 avx512f avx512_vnni amx_int8", False),
        ("flags\t\t: fma avx2 avx_vnni", False),
        ("flags\t\t: fma avx2 avx512f\nvmx flags\t: avx_vnni", True),
        ("Features\t: fp asimd", True),
        ("", True),
    ],
)
def test_slower_kernels_are_asked_for_only_where_there_is_no_vnni(monkeypatch, cpuinfo, slower):
    monkeypatch.setattr(sessions, "kernel_text", lambda path: cpuinfo)
    integer_options.cache_clear()
    try:
        assert integer_options() == ({EXACT_INTEGERS: "1"} if slower else {})
    finally:
        integer_options.cache_clear()


@pytest.mark.parametrize("threads", [1, 2])
def test_sums_of_the_largest_bytes_do_not_saturate(tmp_path, threads):
    channels, filters, sides = 64, 16, 8
    weights = np.full((filters, channels, 1, 1), 127, np.int8)
    weights[::2] = -127
    exact = 255 * 127 * channels
    constants = {
        "x_scale": np.float32(1),
        "x_zero": np.uint8(0),
        "w": weights,
        "w_scale": np.ones(filters, np.float32),
        "w_zero": np.zeros(filters, np.int8),
        "y_scale": np.float32(exact / 100),
        "y_zero": np.uint8(128),
    }
    names = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero"]
    graph = helper.make_graph(
        [helper.make_node("QLinearConv", names, ["y"])],
        "sums",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, [1, channels, sides, sides])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [1, filters, sides, sides])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    session = inference_session(tmp_path / "m.onnx", threads, fast=True)
    found = session.run(["y"], {"x": np.full((1, channels, sides, sides), 255, np.uint8)})[0]
    assert np.unique(found[0, ::2]).tolist() == [28] and np.unique(found[0, 1::2]).tolist() == [228]
