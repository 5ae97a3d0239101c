"""The whole network as a torch module, for the baselines: from the bundle, else from the model library."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lightcl_edge.bundle.bundle import WHOLE_NETWORK, Bundle
from lightcl_edge.bundle.manifest import ModelInfo
from lightcl_edge.errors import BundleError, LightclError

if TYPE_CHECKING:
    import torch


def check_builder(bundle_path: Path) -> None:
    """Refuse, without importing, a bundle whose network :func:`load_whole_network` could not build here."""
    if not Bundle.open(bundle_path).has(WHOLE_NETWORK) and find_spec("lightcl_models") is None:
        raise _cannot_build(bundle_path, ImportError("the model library lightcl_models is not installed"))


def import_builder(bundle_path: Path) -> None:
    """Import what :func:`load_whole_network` will need for this bundle, or say that it can't be had."""
    if Bundle.open(bundle_path).has(WHOLE_NETWORK):
        import lightcl_profiler.networks.new_classifier  # noqa: F401

        return
    try:
        import lightcl_models.registry  # noqa: F401
    except ImportError as error:
        raise _cannot_build(bundle_path, error) from error


def load_whole_network(bundle_path: Path, classes: int, *, needs_graph: bool = False) -> tuple[torch.nn.Module, str]:
    """The network in training mode, with a classifier for ``classes`` classes, and where it came from.

    Raises a BundleError when the bundle has no network and it can't be rebuilt here.
    """
    bundle = Bundle.open(bundle_path)
    if bundle.has(WHOLE_NETWORK):
        from lightcl_profiler.networks.new_classifier import network_from_graph

        layers = sum(len(parameter.shape) >= 2 for parameter in bundle.manifest.head.parameters)
        network = network_from_graph(bundle.path(WHOLE_NETWORK), classes, layers)
        norms = sum(node.operator == "BatchNormalization" for node in network.body.graph.nodes)
        module: torch.nn.Module = network
        origin = f"network from the bundle's {WHOLE_NETWORK}, {norms} BatchNorm layers"
    elif needs_graph:
        raise _cannot_build(bundle_path, BundleError("this method looks inside the network's graph"))
    else:
        module, origin = _rebuild(bundle_path, bundle.manifest.model, classes)
    return module.train().requires_grad_(True), origin


def _rebuild(bundle_path: Path, model: ModelInfo, classes: int) -> tuple[torch.nn.Module, str]:
    """The network from the model library: with default weights if the bundle's are those, else random."""
    failure: Exception = BundleError("no weights were tried")
    for kind in ["default", "none"] if model.weights == "default" else ["none"]:
        try:
            from lightcl_models.checkpoints import replace_classifier
            from lightcl_models.registry import load_model

            module: torch.nn.Module = load_model(model.name, kind).module
            replace_classifier(module, classes)
        except (ImportError, LightclError) as error:
            failure = error
            continue
        note = "random weights, which need the same memory" if kind == "none" else "default weights"
        return module, f"network rebuilt by the model library as {model.name} with {note}"
    raise _cannot_build(bundle_path, failure) from failure


def _cannot_build(bundle_path: Path, error: Exception) -> BundleError:
    return BundleError(
        f"{bundle_path} has no {WHOLE_NETWORK} and the whole network can't be rebuilt here ({error}); "
        "export the bundle again with lightcl-host export --with-baselines"
    )
