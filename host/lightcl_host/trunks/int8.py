"""The trunk with 8-bit weights and activations, by onnxruntime's own static quantiser.

Weights are signed with a scale for each channel, activations unsigned. Weights keep all 8 bits: with one bit less
(``reduce_range``) EfficientNet-Lite0's features lose 6 dB of signal to noise. With 8 bits, x86 processors without VNNI
would saturate; host and device ask onnxruntime for kernels that do not (``EXACT_INTEGERS``).

The first convolutions make most of the noise (docs/builders/quantization.md has the figures) and hold hardly any
weights. So a few of them stay in float32 at hardly any cost in size.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightcl_edge.bundle.graph_names import IMAGE
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.graphs.graph import IR_VERSION
from lightcl_host.graphs.quiet import quiet

if TYPE_CHECKING:
    import onnx


def quantize_trunk(trunk: onnx.ModelProto, images: FloatArray, float_convolutions: int = 0) -> onnx.ModelProto:
    """Quantise statically; input and output stay float32.

    Args:
        images: normalised calibration images, shape ``(n, 3, height, width)``.

    Returns:
        The trunk with pairs of ``QuantizeLinear`` and ``DequantizeLinear``, which onnxruntime runs in integers.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder, quiet():
        prepared, quantised = Path(folder) / "prepared.onnx", Path(folder) / "quantised.onnx"
        original = Path(folder) / "float.onnx"  # a file, because the tool moves the weights out of a model object
        original.write_bytes(trunk.SerializeToString())
        quant_pre_process(str(original), str(prepared), skip_symbolic_shape=True)
        names = [node.name for node in onnx.load(prepared).graph.node if node.op_type == "Conv"]
        quantize_static(
            str(prepared),
            str(quantised),
            _reader(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=False,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=names[:float_convolutions],
        )
        model: onnx.ModelProto = onnx.load(quantised)
    _clean(model, trunk)
    return model


def _reader(images: FloatArray) -> Any:
    """The images one at a time, in the form that the quantiser asks for."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
        def __init__(self) -> None:
            self._images = iter(images)

        def get_next(self) -> dict[str, FloatArray] | None:
            image = next(self._images, None)
            return None if image is None else {IMAGE: image[None]}

    return Reader()


def _clean(model: onnx.ModelProto, trunk: onnx.ModelProto) -> None:
    """Write the header of all bundle graphs, with only the opset that is used."""
    del model.opset_import[:], model.metadata_props[:]
    model.opset_import.extend(trunk.opset_import)
    model.ir_version = IR_VERSION
    model.producer_name, model.producer_version = trunk.producer_name, ""
    for node in model.graph.node:
        del node.metadata_props[:]
