"""Model specifications: from a name on the command line to a network with its weights."""

from pathlib import Path

from lightcl_edge.errors import UsageError
from lightcl_models.loaded_model import LoadedModel
from lightcl_models.names import unknown_name

OWN_MODELS = ("efficientnet_lite0", "resnet18_cifar")
LIBRARIES = ("timm", "torchvision")


def load_model(spec: str, weights: str, seed: int = 0, image_size: int | None = None) -> LoadedModel:
    """Build the network that a specification names.

    Args:
        image_size: side in pixels, for networks of timm that are built for one size; None for their own.

    Returns:
        The network in evaluation mode, how images become its input, and whether its weights are random.

    Raises:
        UsageError: for an unknown name, weights that can't be had or do not fit.
    """
    library, _, name = spec.partition(":")
    known = spec in OWN_MODELS or (library in LIBRARIES and name)
    if not known:
        forms = ", ".join([*OWN_MODELS, "torchvision:NAME", "timm:NAME", "path.onnx"])
        near = str(unknown_name(spec, [*OWN_MODELS, *(f"{other}:{spec}" for other in LIBRARIES)]))
        raise UsageError(f"{near} A model is one of {forms}")
    if weights not in ("default", "none") and not Path(weights).is_file():
        raise UsageError(f"--weights {weights}: no such file; expected default, none, or a .safetensors or .pth file")
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if spec == "efficientnet_lite0":
            from lightcl_models.efficientnet_lite0 import load as load_lite0

            return load_lite0(weights)
        if spec == "resnet18_cifar":
            from lightcl_models.resnet18_cifar import load as load_resnet

            return load_resnet(weights)
        if library == "timm":
            from lightcl_models.timm_models import load as load_timm

            return load_timm(name, weights, image_size)
        from lightcl_models.torchvision_models import load as load_torchvision

        return load_torchvision(name, weights)
