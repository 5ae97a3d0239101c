"""Last stages of networks with attention or without, at small widths, and their heads for both engines."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from head_export import describe_head, torchvision_models
from lightcl_edge.files.tensors import FloatArray
from lightcl_edge.learning.engines.contract import Batch, Engine
from lightcl_edge.learning.engines.ort_engine import OrtEngine
from lightcl_edge.learning.engines.torch_engine import TorchEngine
from lightcl_host.autodiff.training_step import step_graphs
from lightcl_host.cutting.head_parameters import name_parameters

CAPACITY, SAMPLES = 5, 6
#: A body, its width, the axes of the mean (None for the class token), and the shape of the features.
Made = tuple[nn.Module, int, tuple[int, ...] | None, tuple[int, ...]]


class Affine(nn.Module):
    """What batch normalisation is once its statistics stand."""

    def __init__(self, channels: int, rank: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels, *[1] * (rank - 2)))
        self.bias = nn.Parameter(torch.zeros(channels, *[1] * (rank - 2)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weight + self.bias


class Stage(nn.Module):
    """A stage, the class token or the mean over all places, and a linear classifier."""

    def __init__(self, body: nn.Module, width: int, places: tuple[int, ...] | None) -> None:
        super().__init__()
        self.body, self.places = body, places
        self.classifier = nn.Linear(width, CAPACITY)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.body(x)
        y = y[:, 0] if self.places is None else y.mean(self.places)
        return self.classifier(y)


def _vit(timm: Any) -> Made:
    block = timm.vision_transformer.Block(8, 2, qkv_bias=True, init_values=0.5)
    return nn.Sequential(block, nn.LayerNorm(8)), 8, None, (5, 8)


def _swin(timm: Any) -> Made:
    stage = timm.swin_transformer.SwinTransformerStage(4, 8, (8, 8), 2, num_heads=2, window_size=2)
    return nn.Sequential(stage, nn.LayerNorm(8)), 8, (1, 2), (8, 8, 4)


def _convnext(timm: Any) -> Made:
    stage = timm.convnext.ConvNeXtStage(
        4, 8, 3, norm_layer=timm.layers.LayerNorm2d, norm_layer_cl=timm.layers.LayerNorm
    )
    return stage, 8, (2, 3), (4, 6, 6)


def _convnext_v2(timm: Any) -> Made:
    norms = {"norm_layer": timm.layers.LayerNorm2d, "norm_layer_cl": timm.layers.LayerNorm}
    return timm.convnext.ConvNeXtStage(4, 8, 3, use_grn=True, ls_init_value=None, **norms), 8, (2, 3), (4, 6, 6)


def _mobilevit(timm: Any) -> Made:
    layers = timm.byobnet.LayerFn()
    block = timm.mobilevit.MobileVitBlock(
        4, transformer_dim=8, transformer_depth=1, patch_size=2, num_heads=2, layers=layers
    )
    return block, 4, (2, 3), (4, 4, 4)


def _efficientformer(timm: Any) -> Made:
    stage = timm.efficientformer.EfficientFormerStage(4, 8, 2, drop_path=[0.0, 0.0], layer_scale_init_value=0.5)
    for block in stage.blocks:
        if isinstance(block, timm.efficientformer.MetaBlock1d):  # made for 7 x 7 places
            block.token_mixer = timm.efficientformer.Attention(8, key_dim=4, num_heads=2, resolution=3)
    return nn.Sequential(stage, nn.LayerNorm(8)), 8, (1,), (4, 6, 6)


def _levit(timm: Any) -> Made:
    stage = timm.levit.LevitStage(
        8,
        8,
        4,
        depth=1,
        num_heads=2,
        attn_ratio=2,
        mlp_ratio=2,
        act_layer=nn.Hardswish,
        resolution=4,
        downsample="subsample",
    )
    return stage, 8, (1,), (16, 8)


def _fastvit(timm: Any) -> Made:
    mixer = timm.fastvit.FastVitStage(
        4, 8, 1, "repmixer", down_patch_size=3, drop_path_rate=[0.0], layer_scale_init_value=0.5
    )
    attention = timm.fastvit.AttentionBlock(32, layer_scale_init_value=0.5)
    widen = nn.Conv2d(8, 32, 1)
    return nn.Sequential(mixer, widen, attention), 32, (2, 3), (4, 6, 6)


STAGES: dict[str, Callable[[Any], Made]] = {
    "vit": _vit,
    "swin": _swin,
    "convnext": _convnext,
    "convnext_v2": _convnext_v2,
    "mobilevit": _mobilevit,
    "efficientformer": _efficientformer,
    "levit": _levit,
    "fastvit": _fastvit,
}


def make_stage(name: str) -> tuple[Stage, tuple[int, ...]]:
    """A stage with other values in each parameter, and the shape of its features."""
    torchvision_models()
    import timm.layers
    from timm import models

    torch.manual_seed(0)
    models.layers = timm.layers
    body, width, places, shape = STAGES[name](models)
    stage = Stage(body, width, places).eval()
    _without_batch_norm(stage)
    for parameter in stage.parameters():
        if len(parameter.unique()) <= 1:
            nn.init.normal_(parameter, float(parameter.detach().mean()), 0.1)
    return stage, shape


def _without_batch_norm(module: nn.Module) -> None:
    for name, part in list(module.named_children()):
        if isinstance(part, nn.modules.batchnorm._BatchNorm):
            rank = 2 if isinstance(part, nn.BatchNorm1d) else 4
            act = getattr(part, "act", nn.Identity())  # timm keeps the activation in there
            setattr(module, name, nn.Sequential(Affine(part.num_features, rank), act))
        else:
            _without_batch_norm(part)


def export_stage(stage: Stage, shape: tuple[int, ...]) -> onnx.ModelProto:
    """The stage as a graph with a free batch axis."""
    batch = torch.export.Dim("batch", min=1, max=1024)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        program = torch.onnx.export(
            stage,
            (torch.zeros(3, *shape),),
            dynamo=True,
            opset_version=20,
            input_names=["features"],
            output_names=["logits"],
            dynamic_shapes=({0: batch},),
            verbose=False,
        )
        logging.disable(logging.NOTSET)
    model = onnx.load_from_string(program.model_proto.SerializeToString())
    model.ir_version = 10
    del model.graph.value_info[:]
    return model


class TrainedStage:
    """The head that the product makes of a stage, and which of the stage's parameters it trains."""

    def __init__(self, name: str, folder: Path, samples: int = SAMPLES) -> None:
        self.stage, self.shape = make_stage(name)
        self.model = export_stage(self.stage, self.shape)
        names = name_parameters(self.model)
        self.info = describe_head(self.model, names)
        self.info.patterns[:] = ["logits"]
        offered = step_graphs(self.model, self.info, self.shape, [samples], 2)
        self.info, self.steps = offered.head, []
        for graph, data in offered.graphs:
            path = folder / graph.path
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
            self.steps.append((graph, path))
        self.head = folder / "head.onnx"
        self.head.write_bytes(self.model.SerializeToString())
        stored = {value.name: onnx.numpy_helper.to_array(value) for value in self.model.graph.initializer}
        self.start: dict[str, FloatArray] = {parameter: stored[parameter] for parameter in names}
        self.pairs = self._pair()

    def _pair(self) -> dict[str, tuple[str, bool]]:
        """Head parameter -> the stage's parameter of these values, and whether it is transposed."""
        own = {name: value.detach().numpy() for name, value in self.stage.named_parameters()}
        pairs = {}
        for name, array in self.start.items():
            same = [(k, False) for k, v in own.items() if v.size == array.size and (v.ravel() == array.ravel()).all()]
            turned = [(k, True) for k, v in own.items() if v.T.shape == array.shape and (array == v.T).all()]
            found = same or turned
            if len(found) != 1:
                raise ValueError(f"{name} {array.shape} is equal to {found} of the stage's parameters, expected one")
            pairs[name] = found[0]
        return pairs

    @property
    def frozen(self) -> list[str]:
        """The stage's parameters that the head does not train."""
        trained = {name for name, _ in self.pairs.values()}
        return [name for name, _ in self.stage.named_parameters() if name not in trained]

    def engine(self, kind: str) -> Engine:
        """A loaded engine: ``torch``, or ``ort`` with updates ``in_place`` or ``accumulate``."""
        engine: Engine
        if kind == "torch":
            engine = TorchEngine(self.head, self.info, 1, "cpu")
        else:
            engine = OrtEngine(self.head, self.info, self.shape, self.steps, 1, kind)
        engine.load(self.start)
        return engine

    def batches(self, count: int) -> list[Batch]:
        """Seeded batches with shifted logits."""
        noise = np.random.default_rng(0)
        rows = [noise.standard_normal((SAMPLES, *self.shape)).astype(np.float32) for _ in range(count)]
        offset = noise.normal(0, 0.5, (SAMPLES, CAPACITY)).astype(np.float32)
        weights = np.full(SAMPLES, 1 / SAMPLES, np.float32)
        return [Batch(some, noise.integers(0, CAPACITY, SAMPLES), offset, weights, 0.05) for some in rows]

    def train_stage(self, batches: list[Batch]) -> dict[str, FloatArray]:
        """Plain SGD on the stage itself under autograd in float64; the head's parameters afterwards."""
        stage = self.stage.double()
        tensors = dict(stage.named_parameters())
        trained = [tensors[name].requires_grad_(True) for name, _ in self.pairs.values()]
        for name in self.frozen:
            tensors[name].requires_grad_(False)
        for batch in batches:
            logits = stage(torch.from_numpy(batch.features).double()) + torch.from_numpy(batch.logit_offset)
            entropy = nn.functional.cross_entropy(logits, torch.from_numpy(batch.labels), reduction="none")
            loss = (entropy * torch.from_numpy(batch.weights)).sum()
            with torch.no_grad():
                for tensor, gradient in zip(trained, torch.autograd.grad(loss, trained), strict=True):
                    tensor.sub_(batch.learning_rate * gradient)
        found = {}
        for name, (own, turned) in self.pairs.items():
            value = tensors[own].detach().numpy()
            found[name] = (value.T if turned else value).reshape(self.start[name].shape).astype(np.float32)
        return found
