"""A model as one ONNX graph in normal form, with the input it takes and the original network to compare with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.errors import UsageError
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.sources.failure_reason import blaming
from lightcl_host.sources.file_kinds import check_file_kind
from lightcl_host.sources.input_of_file import input_of_file
from lightcl_host.sources.normalising.dequantisation import Quantisation
from lightcl_host.sources.options import SourceOptions
from lightcl_host.sources.torch_source import export_module, run_module
from lightcl_models.registry import load_model

if TYPE_CHECKING:
    import onnx
    import torch


@dataclass(frozen=True)
class Source:
    """A network on its way into a bundle."""

    name: str  # for the manifest
    weights: str  # ``default``, ``none`` or a file's name
    graph: onnx.ModelProto  # in normal form, batch normalisation folded
    input_info: InputInfo  # how an image becomes the input
    random_weights: bool  # whether the weights were drawn at random
    # the original network: images ``(n, 3, h, w)`` -> logits ``(n, classes)``
    reference: Callable[[FloatArray], FloatArray]
    with_batch_norm: Callable[[], onnx.ModelProto]  # makes the whole graph again with batch normalisation kept
    module: torch.nn.Module | None = None  # the torch network; None where the model is an ONNX file
    assumed: tuple[str, ...] = ()  # fields of ``input_info`` that nothing says; the usual values stand there
    notes: tuple[str, ...] = ()  # what a person should know of how the model was read
    classes: tuple[str, ...] = ()  # the network's own class names, where its file names them
    quantisation: Quantisation | None = None  # how an ``.onnx`` file in 8 bits was quantised


def open_source(options: SourceOptions) -> Source:
    """Load a model and export it to ONNX; UsageError when it can't be found, loaded or exported."""
    check_file_kind(options.model)
    if options.model.endswith(".onnx"):
        return _from_onnx(options)
    if options.output is not None:
        raise UsageError(f"--output {options.output}: only an .onnx file can have several outputs; leave it out")
    loaded = load_model(options.model, options.weights, options.seed, options.image_size)
    return _from_module(
        loaded.module,
        adjusted_input(loaded.input_info, options),
        name=options.model,
        weights=options.weights if options.weights in ("default", "none") else Path(options.weights).name,
        random_weights=loaded.random_weights,
    )


def source_of_module(source: Source, module: torch.nn.Module) -> Source:
    """The same source with another network in place of its own (a pruned one)."""
    return _from_module(
        module, source.input_info, name=source.name, weights=source.weights, random_weights=source.random_weights
    )


def _from_module(module: torch.nn.Module, info: InputInfo, *, name: str, weights: str, random_weights: bool) -> Source:
    return Source(
        name=name,
        weights=weights,
        graph=export_module(module, info.height, info.width),
        input_info=info,
        random_weights=random_weights,
        reference=lambda images: run_module(module, images),
        with_batch_norm=lambda: export_module(module, info.height, info.width, keep_batch_norm=True),
        module=module,
    )


def adjusted_input(info: InputInfo, options: SourceOptions) -> InputInfo:
    """The model's input with what the command line sets instead."""
    largest = options.scale or 1.0
    mean, std = options.mean, options.std
    if options.scale is not None:
        mean, std = mean or (0.0, 0.0, 0.0), std or (1.0, 1.0, 1.0)
    return replace(
        info,
        height=options.image_size or info.height,
        width=options.image_size or info.width,
        mean=list(info.mean) if mean is None else [value / largest for value in mean],
        std=list(info.std) if std is None else [value / largest for value in std],
        channel_order=options.channel_order or info.channel_order,
        resize=options.resize or info.resize,
        crop_ratio=options.crop_ratio or info.crop_ratio,
        interpolation=options.interpolation or info.interpolation,
    )


def _from_onnx(options: SourceOptions) -> Source:
    from lightcl_host.sources.onnx_source import ForeignGraph

    if options.weights != "default":
        raise UsageError(f"--weights {options.weights} with {options.model}: an .onnx file brings its own weights")
    with blaming(options.model, "read", "try another exporter or opset"):
        foreign = ForeignGraph(Path(options.model), options.image_size, options.output)
        graph = foreign.normal_form()
        found = input_of_file(foreign, graph, options)
    return Source(
        name=Path(options.model).name,
        weights=Path(options.model).name,
        graph=graph,
        input_info=adjusted_input(found.info, options),
        random_weights=False,
        reference=foreign.run,
        with_batch_norm=lambda: foreign.normal_form(keep_batch_norm=True),
        assumed=found.assumed,
        notes=(*foreign.notes, *found.notes),
        classes=foreign.stated.classes,
        quantisation=foreign.quantisation,
    )
