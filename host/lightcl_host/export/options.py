"""What an export can be asked for."""

from dataclasses import dataclass, field
from pathlib import Path

from lightcl_edge.errors import UsageError
from lightcl_host.cutting.taps import MAX_TAP_SIZE
from lightcl_host.export.cut_choice import AUTOMATIC
from lightcl_host.pruning.pruning import RECOVERY_EPOCHS
from lightcl_host.sources.options import SourceOptions
from lightcl_host.trunks.dtype_choice import AUTO, Tolerance

DEFAULT_CAPACITY = 64


@dataclass(frozen=True)
class ExportOptions:
    source: SourceOptions  # the model
    out: Path  # the bundle's folder, or a path ending in ``.lclb``
    force: bool = False  # replace a bundle that is there
    cut: str = AUTOMATIC  # a name, or ``auto``
    trunk_dtype: str = AUTO  # ``auto``, ``int8``, ``fp16`` or ``fp32``
    calibration: str | None = None  # a data specification, or None for scikit-learn's photographs
    tolerance: Tolerance = field(default_factory=Tolerance)  # what a trunk of fewer bits may lose
    capacity: int = DEFAULT_CAPACITY  # rows of the classifier
    max_taps: int = MAX_TAP_SIZE  # most numbers of an image in taps that validation chooses; no fewer than the default
    keep_classes: Path | None = None  # a file that names the network's own classes to keep, or None
    with_baselines: bool = False  # also write the whole network
    sparsity: float = 0.0  # share of the channels to remove from the head and the trunk's tail
    recovery_epochs: int = RECOVERY_EPOCHS  # passes over the calibration data after pruning
    seed: int = 0  # of everything random; equal seeds give equal bundles
    seed_buffer: str | None = None  # specification of images of base classes whose features go into the bundle, or None
    seed_buffer_size: str | None = None  # of that feature buffer, in samples or bytes; None for the device's default
    analysis: Path | None = None  # folder of ``lightcl-host analyze`` that decides on the cut, or None
    device: str | None = None  # name of the device profile that the cut is to fit, or None
    sign: Path | None = None  # PEM file of the private key to sign the bundle with, or None
    release: int | None = None  # number of a signed bundle, which must grow; None for the seconds since 1970

    def __post_init__(self) -> None:
        if self.max_taps < MAX_TAP_SIZE:
            raise UsageError(f"--max-taps {self.max_taps}; expected {MAX_TAP_SIZE} (the default) or more")
