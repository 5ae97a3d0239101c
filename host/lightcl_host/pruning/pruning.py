"""``--sparsity``: prune, distil where there are images, and measure what was lost."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from lightcl_edge.console.progress import Progress
from lightcl_edge.errors import UsageError
from lightcl_host.cutting.cuts import Cut
from lightcl_host.pruning.channels import remove_channels
from lightcl_host.pruning.distillation import distil, labelled_images, probe_accuracy, top1_agreement
from lightcl_host.sources.source import Source, source_of_module

RECOVERY_EPOCHS = 3


@dataclass(frozen=True)
class PruningOptions:
    """What the command line says."""

    sparsity: float = 0.0  # share of the channels to remove
    recovery_epochs: int = RECOVERY_EPOCHS  # passes over the images afterwards
    data: str | None = None  # specification of images with classes, or None
    seed: int = 0  # of the choice and order of images


@dataclass(frozen=True)
class PruningRecord:
    """What was removed and lost. Accuracies are None where no images were given or the weights are random."""

    sparsity: float  # as asked
    layers: int  # how many lost channels
    parameters_before: int  # weights of the whole network
    parameters_after: int  # weights of the pruned network
    recovery_epochs: int = 0  # passes over the images
    recovery_images: int = 0  # how many trained
    test_images: int = 0  # how many tested
    accuracy_before: float | None = None  # of a ridge classifier on the original's penultimate features
    accuracy_pruned: float | None = None  # the same right after pruning
    accuracy_after: float | None = None  # the same after distillation
    # share of test images for which both networks name the same class first at the end
    top1_agreement: float | None = None

    @property
    def accuracy_loss(self) -> float | None:
        """Accuracy before minus after; None where it was not measured."""
        known = self.accuracy_before is not None and self.accuracy_after is not None
        return self.accuracy_before - self.accuracy_after if known else None  # type: ignore[operator]

    def document(self) -> dict[str, Any]:
        """For ``--json``."""
        return {**asdict(self), "accuracy_loss": self.accuracy_loss}


def prune_source(source: Source, cut: Cut, options: PruningOptions, progress: Progress) -> tuple[Source, PruningRecord]:
    """Prune a network for a cut; returns the smaller network and what it lost.

    Raises UsageError when the network is an ONNX file or can't be pruned, DataError when the images can't be used.
    """
    if source.module is None:
        raise UsageError(
            f"--sparsity with {source.name}: an .onnx file holds a graph, and channels are removed from a PyTorch "
            "network; give efficientnet_lite0, resnet18_cifar, torchvision:NAME or timm:NAME, or prune it before you "
            "export it to ONNX"
        )
    progress.note(f"pruning {options.sparsity:.0%} of the channels of the head and the trunk's tail")
    info = source.input_info
    removal = remove_channels(source.module, cut, options.sparsity, info.height, info.width)
    record = PruningRecord(options.sparsity, removal.layers, removal.parameters_before, removal.parameters_after)
    if options.data is not None and not source.random_weights:
        data = labelled_images(options.data, info, options.seed)
        before = probe_accuracy(source.module, data)
        pruned = probe_accuracy(removal.module, data)
        distil(removal.module, source.module, data, options.recovery_epochs, options.seed, progress)
        record = replace(
            record,
            recovery_epochs=options.recovery_epochs,
            recovery_images=int((~data.tests).sum()),
            test_images=int(data.tests.sum()),
            accuracy_before=before,
            accuracy_pruned=pruned,
            accuracy_after=probe_accuracy(removal.module, data),
            top1_agreement=top1_agreement(removal.module, source.module, data),
        )
    return source_of_module(source, removal.module), record
