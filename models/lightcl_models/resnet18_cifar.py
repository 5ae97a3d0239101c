"""ResNet-18 for 32x32 images: torchvision's, with a 3x3 stem of stride 1 and no max-pool."""

from pathlib import Path

from lightcl_edge.errors import UsageError
from lightcl_models.checkpoints import as_torchvision_resnet, load_into, read_checkpoint
from lightcl_models.loaded_model import LoadedModel, rgb_input
from lightcl_models.torchvision_import import import_torchvision

SIZE = 32
#: Over the training pixels of CIFAR-10.
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2470, 0.2435, 0.2615)
_RANDOM_CLASSES = 10


def load(weights: str) -> LoadedModel:
    """Build the network, with as many classes as the weights.

    Raises:
        UsageError: for ``default``, which does not exist, and for files that do not fit.
    """
    if weights == "default":
        raise UsageError(
            "resnet18_cifar has no default weights; give --weights FILE (.safetensors or .pth) or --weights none"
        )
    import torch

    models = import_torchvision().models
    state = None if weights == "none" else as_torchvision_resnet(read_checkpoint(Path(weights)))
    classes = _RANDOM_CLASSES if state is None or "fc.weight" not in state else len(state["fc.weight"])
    module = models.resnet18(weights=None, num_classes=classes)
    module.conv1 = torch.nn.Conv2d(3, 64, kernel_size=3, stride=1, padding=1, bias=False)
    module.maxpool = torch.nn.Identity()
    if state is not None:
        load_into(module, state, Path(weights).name)
    info = rgb_input(SIZE, SIZE, MEAN, STD, resize="stretch", crop_ratio=1.0)
    return LoadedModel(module.eval(), info, random_weights=state is None)
