"""The whole network as a torch module, for the baselines: from the bundle, else from the model library."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from lightcl_edge.bundle.bundle import WHOLE_NETWORK, Bundle
from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.errors import BundleError, LightclError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class WholeNetwork:
    """A network ready to be trained.

    Attributes:
        module: in training mode, all trainable; images ``(n, 3, h, w)`` -> logits ``(n, classes)``.
    """

    module: torch.nn.Module
    input: InputInfo
    origin: str  # for the report


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


def load_whole_network(bundle_path: Path, classes: int, *, needs_graph: bool = False) -> WholeNetwork:
    """Build the network with a classifier of its own for ``classes`` classes.

    Returns:
        The network in training mode; a BundleError when it has none and can't be rebuilt here.
    """
    bundle = Bundle.open(bundle_path)
    model = bundle.manifest.model
    if bundle.has(WHOLE_NETWORK):
        from lightcl_profiler.networks.new_classifier import count_batch_norms, network_from_graph

        layers = sum(len(parameter.shape) >= 2 for parameter in bundle.manifest.head.parameters)
        network = network_from_graph(bundle.path(WHOLE_NETWORK), classes, layers)
        module: torch.nn.Module = network
        origin = f"network from the bundle's {WHOLE_NETWORK}, {count_batch_norms(network)} BatchNorm layers"
    elif needs_graph:
        raise _cannot_build(bundle_path, BundleError("this method looks inside the network's graph"))
    else:
        from lightcl_profiler.networks.new_classifier import replace_classifier

        module, origin = _rebuild(bundle_path, model.name, model.weights)
        replace_classifier(module, classes)
    return WholeNetwork(module.train().requires_grad_(True), bundle.manifest.input, origin)


def _rebuild(bundle_path: Path, name: str, weights: str) -> tuple[torch.nn.Module, str]:
    """The network from the model library: with default weights if the bundle's are those, else random."""
    tried = ["default", "none"] if weights == "default" else ["none"]
    failure: Exception = BundleError("no weights were tried")
    for kind in tried:
        try:
            from lightcl_models.registry import load_model

            module: torch.nn.Module = load_model(name, kind).module
        except (ImportError, LightclError) as error:
            failure = error
            continue
        note = "random weights, which need the same memory" if kind == "none" else "default weights"
        return module, f"network rebuilt by the model library as {name} with {note}"
    raise _cannot_build(bundle_path, failure) from failure


def _cannot_build(bundle_path: Path, error: Exception) -> BundleError:
    return BundleError(
        f"{bundle_path} has no {WHOLE_NETWORK} and the whole network can't be rebuilt here ({error}); "
        "export the bundle again with lightcl-host export --with-baselines"
    )
