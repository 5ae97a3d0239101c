"""Makes heads for tests: a torch network's tail and the ``head.onnx`` that the product would make of it."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterable

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from torch import nn

from lightcl_edge.bundle.manifest import HeadInfo, ParameterInfo
from lightcl_host.cutting.taps import Tap, TapPlace, add_taps

#: Stands for the symbolic batch while torch exports; no other side of a test network has this size.
EXPORT_ROWS = 13


class Tail(nn.Module):
    """A body, global mean over space where it has any, and a linear classifier."""

    def __init__(self, body: nn.Module, width: int, capacity: int) -> None:
        super().__init__()
        self.body = body
        self.classifier = nn.Linear(width, capacity)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        if y.ndim == 4:
            y = nn.functional.adaptive_avg_pool2d(y, 1)
        return self.classifier(torch.flatten(y, 1))


def export_head(tail: Tail, feature_shape: Iterable[int]) -> tuple[onnx.ModelProto, HeadInfo]:
    """Export a tail in the convention of ``head.onnx``; patterns are all ReLU-like results and the logits."""
    shape = list(feature_shape)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        program = torch.onnx.export(
            tail.eval(),
            (torch.zeros(EXPORT_ROWS, *shape),),
            dynamo=True,
            opset_version=20,
            input_names=["features"],
            output_names=["logits"],
            verbose=False,
        )
        logging.disable(logging.NOTSET)
    model = onnx.load_from_string(program.model_proto.SerializeToString())
    _free_batch(model)
    return model, describe_head(model, dict(tail.named_parameters()))


def _free_batch(model: onnx.ModelProto) -> None:
    graph = model.graph
    model.ir_version = 10
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    reshapes = [node for node in graph.node if node.op_type == "Reshape"]
    targets = {node.input[1] for node in reshapes}
    for node in reshapes:
        node.ClearField("attribute")  # the exporter sets allowzero, with which 0 would mean an empty axis
    for value in graph.initializer:
        array = numpy_helper.to_array(value)
        if value.name in targets and array.size and array[0] == EXPORT_ROWS:
            value.CopyFrom(numpy_helper.from_array(np.r_[0, array[1:]].astype(np.int64), value.name))


def describe_head(model: onnx.ModelProto, parameters: Iterable[str]) -> HeadInfo:
    """Name the penultimate tensor, declare the outputs, and describe a head whose last layer is ``classifier``."""
    parameters = list(parameters)
    graph = model.graph
    stored = {value.name: list(value.dims) for value in graph.initializer}
    missing = set(parameters) - set(stored)
    if missing:
        raise ValueError(f"the exporter renamed {missing}")
    last = graph.node[-1]
    identity = helper.make_node("Identity", [last.input[0]], ["penultimate"])
    graph.node.insert(len(graph.node) - 1, identity)
    last.input[0] = "penultimate"
    kinds = ("Relu", "Clip", "HardSwish")
    patterns = [node.output[0] for node in graph.node if node.op_type in kinds]
    for name in (*patterns, "penultimate"):
        graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    capacity, width = stored["classifier.weight"]
    operators = sorted({node.op_type for node in graph.node})
    shape = tuple(side.dim_value for side in graph.input[0].type.tensor_type.shape.dim)[1:]
    taps = [Tap(TapPlace("features", "features", shape)), Tap(TapPlace("penultimate", "penultimate", (width,)))]
    return HeadInfo(
        capacity=capacity,
        penultimate_size=width,
        operators=operators,
        parameters=[ParameterInfo(name, stored[name]) for name in parameters],
        patterns=[*patterns, "logits"],
        taps=add_taps(model, taps),
    )


def torchvision_models() -> object:
    """``torchvision.models``, also where its compiled library does not fit torch."""
    library = torch.library.Library("torchvision", "FRAGMENT")
    with contextlib.suppress(RuntimeError):
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision.models

    return torchvision.models


def fold_batch_norm(module: nn.Module) -> nn.Module:
    """The module with each BatchNorm, given statistics as after training, merged into its convolution.

    Fresh ones would all give the same zero bias, which the exporter stores once; other zero biases likewise.
    """
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    previous: tuple[str, nn.Module] = ("", nn.Identity())
    for name, part in list(module.named_children()):
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.8, 1.2)
            nn.init.normal_(part.bias, 0, 0.1)
            nn.init.normal_(part.running_mean, 0, 0.1)
            nn.init.uniform_(part.running_var, 0.8, 1.2)
            folded = fuse_conv_bn_eval(previous[1].eval(), part.eval())
            setattr(module, previous[0], folded.requires_grad_(True))
            setattr(module, name, getattr(part, "act", nn.Identity()))  # timm keeps the activation in there
        fold_batch_norm(part)
        previous = (name, part)
    for parameter in module.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, 0, 0.1)
    return module
