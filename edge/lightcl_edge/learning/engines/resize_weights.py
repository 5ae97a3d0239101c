"""Interpolation along one axis as a matrix. ONNX's interpolations treat axes one by one, and all are linear."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from lightcl_edge.errors import BundleError

_OPSET = 20
#: What says how the axes belong together.
_OF_AXES = frozenset({"axes", "keep_aspect_ratio_policy"})


def axis_weights(attributes: Mapping[str, Any], before: int, after: int, scale: float | None) -> NDArray[np.float32]:
    """What a Resize with these attributes makes of each unit vector of ``before`` values, shape ``(before, after)``.

    ``scale`` is None where the node states the sides.

    Raises:
        BundleError: when the Resize crops, keeps an aspect ratio, or makes another number of values.
    """
    policy = attributes.get("keep_aspect_ratio_policy", b"stretch")
    if policy != b"stretch" or attributes.get("coordinate_transformation_mode") == b"tf_crop_and_resize":
        raise BundleError("operator Resize crops or keeps the aspect ratio, expected it to stretch; choose a later cut")
    kept = {name: value for name, value in attributes.items() if name not in _OF_AXES}
    inputs = ["x", "", "scales"] if scale else ["x", "", "", "sides"]
    node = helper.make_node("Resize", inputs, ["y"], **kept)
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [before, before])
    taken = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    stated = np.array([1, scale], np.float32) if scale else np.array([before, after], np.int64)
    constants = [onnx.numpy_helper.from_array(stated, inputs[-1])]
    graph = helper.make_graph([node], "axis", [given], [taken], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)])
    unit = np.eye(before, dtype=np.float32)
    (result,) = ReferenceEvaluator(model).run(None, {"x": unit})
    made = np.asarray(result, np.float32)
    if made.shape != (before, after):
        raise BundleError(f"operator Resize makes {made.shape[1]} of {before} values, expected {after}")
    return made
