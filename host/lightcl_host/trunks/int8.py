"""The trunk with 8-bit weights and activations, by onnxruntime's own static quantiser.

Weights are signed with a scale for each channel, activations unsigned. Weights keep all 8 bits: with one bit less
(``reduce_range``) EfficientNet-Lite0's features lose 6 dB of signal to noise. With 8 bits, x86 processors without VNNI
would saturate; host and device ask onnxruntime for kernels that do not (``EXACT_INTEGERS``).

In trunks with attention only layers with weights take 8 bits: what stands between them loses more than it gains.
The first convolutions make most of the noise (docs/builders/quantization.md has the figures) and hold hardly any
weights. So a few of them stay in float32 at hardly any cost in size.
"""

from __future__ import annotations

import tempfile
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightcl_edge.bundle.graph_names import IMAGE
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.graphs.graph import IR_VERSION
from lightcl_host.graphs.quiet import quiet

if TYPE_CHECKING:
    import onnx

_LAYERS = ("Conv", "Gemm", "MatMul")


def count_layers(trunk: onnx.ModelProto) -> int:
    """How many layers of a trunk have weights that can take 8 bits."""
    weights = {tensor.name for tensor in trunk.graph.initializer}
    return sum(node.op_type in _LAYERS and bool(weights.intersection(node.input)) for node in trunk.graph.node)


def quantize_trunk(trunk: onnx.ModelProto, images: FloatArray, float_convolutions: int = 0) -> onnx.ModelProto:
    """Quantise once; arguments as of :class:`TrunkQuantiser`."""
    return TrunkQuantiser(trunk, images).quantised(float_convolutions)


class TrunkQuantiser:
    """Quantises a trunk statically, as often as asked for; its ranges are found once.

    Args:
        images: normalised calibration images, shape ``(n, 3, height, width)``.
    """

    def __init__(self, trunk: onnx.ModelProto, images: FloatArray) -> None:
        from onnxruntime.quantization.calibrate import create_calibrator
        from onnxruntime.quantization.quant_utils import load_model_with_shape_infer
        from onnxruntime.quantization.registry import QDQRegistry, QLinearOpsRegistry
        from onnxruntime.quantization.shape_inference import quant_pre_process

        self._trunk = trunk
        self._operators = sorted({*QLinearOpsRegistry, *QDQRegistry})
        with tempfile.TemporaryDirectory() as folder, quiet():
            prepared, augmented = Path(folder) / "prepared.onnx", Path(folder) / "augmented.onnx"
            original = Path(folder) / "float.onnx"  # a file, because the tool moves the weights out of a model object
            original.write_bytes(trunk.SerializeToString())
            quant_pre_process(str(original), str(prepared), skip_symbolic_shape=True)
            self._prepared: onnx.ModelProto = load_model_with_shape_infer(prepared)
            calibrator = create_calibrator(prepared, self._operators, augmented_model_path=str(augmented))
            calibrator.collect_data(_reader(images))
            self._ranges = calibrator.compute_data()

    def quantised(self, float_convolutions: int = 0) -> onnx.ModelProto:
        """The trunk in eight bits, but for the first ``float_convolutions``; input and output stay float32.

        Its pairs of ``QuantizeLinear`` and ``DequantizeLinear`` make onnxruntime compute in integers.
        """
        from onnxruntime.quantization import QuantType
        from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

        nodes = self._prepared.graph.node
        names = [node.name for node in nodes if node.op_type == "Conv"]
        weights = {tensor.name for tensor in self._prepared.graph.initializer}
        products = [node for node in nodes if node.op_type == "MatMul"]
        of_activations = [node.name for node in products if not weights.intersection(node.input)]
        with quiet():
            quantizer = QDQQuantizer(
                deepcopy(self._prepared),
                per_channel=True,
                reduce_range=False,
                weight_qType=QuantType.QInt8,
                activation_qType=QuantType.QUInt8,
                tensors_range=deepcopy(self._ranges),  # the quantiser narrows ranges in place
                nodes_to_quantize=[],
                nodes_to_exclude=names[:float_convolutions] + of_activations,
                op_types_to_quantize=list(_LAYERS) if products else self._operators,
                extra_options={},
            )
            quantizer.quantize_model()
        quantizer.model.topological_sort()  # as when it is written to a file
        model: onnx.ModelProto = quantizer.model.model
        _clean(model, self._trunk)
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
