"""From a model specification to one ONNX graph in normal form, its input recipe, and the original to compare with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.errors import UsageError
from lightcl_edge.files.tensors import FloatArray
from lightcl_host.sources.torch_source import export_module, run_module
from lightcl_models.recipe import Recipe
from lightcl_models.registry import load_model

if TYPE_CHECKING:
    import onnx
    import torch


@dataclass(frozen=True)
class SourceOptions:
    """What the command line says about the model.

    Attributes:
        model: the specification.
        weights: ``default``, ``none`` or a file; an ``.onnx`` file brings its own.
        image_size: side in pixels instead of the recipe's, or None.
        mean: instead of the recipe's, for pixels in 0..1, or None.
        std: likewise.
        seed: of random weights.
    """

    model: str
    weights: str = "default"
    image_size: int | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    seed: int = 0


@dataclass(frozen=True)
class Source:
    """A network on its way into a bundle.

    Attributes:
        name: for the manifest.
        weights: ``default``, ``none`` or a file's name.
        graph: in normal form, batch normalisation folded.
        recipe: of the input.
        random_weights: whether the weights were drawn at random.
        reference: the original network: images ``(n, 3, h, w)`` -> logits ``(n, classes)``.
        with_batch_norm: makes the whole graph again with batch normalisation kept.
        module: the torch network, or None for one that came as ONNX.
    """

    name: str
    weights: str
    graph: onnx.ModelProto
    recipe: Recipe
    random_weights: bool
    reference: Callable[[FloatArray], FloatArray]
    with_batch_norm: Callable[[], onnx.ModelProto]
    module: torch.nn.Module | None = None

    @property
    def input_info(self) -> InputInfo:
        """The recipe as the manifest has it."""
        return _input_info(self.recipe)


def _input_info(recipe: Recipe) -> InputInfo:
    return InputInfo(
        recipe.height,
        recipe.width,
        recipe.resize,
        recipe.crop_ratio,
        recipe.interpolation,
        list(recipe.mean),
        list(recipe.std),
        "RGB",
    )


def input_info_of(recipe: Recipe, options: SourceOptions) -> InputInfo:
    """How images are prepared for a model that is not exported.

    Args:
        recipe: of the model.
        options: what the command line overrides.

    Returns:
        As the manifest has it.
    """
    return _input_info(_adjusted(recipe, options))


def open_source(options: SourceOptions) -> Source:
    """Load a model and export it.

    Args:
        options: what the command line says.

    Returns:
        The graph, its recipe and the original.

    Raises:
        UsageError: when the model can't be found, loaded or exported.
    """
    if options.model.endswith(".onnx"):
        return _from_onnx(options)
    loaded = load_model(options.model, options.weights, options.seed)
    recipe = _adjusted(loaded.recipe, options)
    module = loaded.module
    return Source(
        name=options.model,
        weights=options.weights if options.weights in ("default", "none") else Path(options.weights).name,
        graph=export_module(module, recipe.height, recipe.width),
        recipe=recipe,
        random_weights=loaded.random_weights,
        reference=lambda images: run_module(module, images),
        with_batch_norm=lambda: export_module(module, recipe.height, recipe.width, keep_batch_norm=True),
        module=module,
    )


def source_of_module(source: Source, module: torch.nn.Module) -> Source:
    """The same source with another network in place of its own (a pruned one)."""
    recipe = source.recipe
    return replace(
        source,
        graph=export_module(module, recipe.height, recipe.width),
        reference=lambda images: run_module(module, images),
        with_batch_norm=lambda: export_module(module, recipe.height, recipe.width, keep_batch_norm=True),
        module=module,
    )


def _adjusted(recipe: Recipe, options: SourceOptions) -> Recipe:
    """The recipe with what the command line overrides."""
    size = options.image_size
    return Recipe(
        size or recipe.height,
        size or recipe.width,
        options.mean or recipe.mean,
        options.std or recipe.std,
        recipe.resize,
        recipe.interpolation,
        recipe.crop_ratio,
    )


def _from_onnx(options: SourceOptions) -> Source:
    from lightcl_host.sources.onnx_source import ForeignGraph

    if options.weights != "default":
        raise UsageError(f"--weights {options.weights} with {options.model}: an .onnx file brings its own weights")
    foreign = ForeignGraph(Path(options.model), options.image_size)
    recipe = _adjusted(Recipe(foreign.height, foreign.width), options)
    return Source(
        name=Path(options.model).name,
        weights=Path(options.model).name,
        graph=foreign.normal_form(),
        recipe=Recipe(
            foreign.height,
            foreign.width,
            recipe.mean,
            recipe.std,
            recipe.resize,
            recipe.interpolation,
            recipe.crop_ratio,
        ),
        random_weights=False,
        reference=foreign.run,
        with_batch_norm=lambda: foreign.normal_form(keep_batch_norm=True),
    )
