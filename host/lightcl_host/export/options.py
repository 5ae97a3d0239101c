"""What an export can be asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lightcl_host.export.cut_choice import AUTOMATIC
from lightcl_host.pruning.pruning import RECOVERY_EPOCHS
from lightcl_host.sources.source import SourceOptions
from lightcl_host.trunks.choice import AUTO, MINIMUM_AGREEMENT

DEFAULT_CAPACITY = 64


@dataclass(frozen=True)
class ExportOptions:
    """What to export and how.

    Attributes:
        source: the model.
        out: the bundle's folder, or a path ending in ``.lclb``.
        cut: a name, or ``auto``.
        trunk_dtype: ``auto``, ``int8``, ``fp16`` or ``fp32``.
        calibration: a data specification, or None for scikit-learn's photographs.
        minimum_agreement: share of equal first classes asked of a trunk of fewer bits.
        capacity: rows of the classifier.
        keep_classes: a file that names the network's own classes to keep, or None.
        with_baselines: also write the whole network.
        sparsity: share of the channels to remove from the head and the trunk's tail.
        recovery_epochs: passes over the calibration data after pruning.
        seed: of everything random; equal seeds give equal bundles.
        seed_buffer: specification of images of base classes whose features go into the bundle, or None.
        seed_buffer_size: of that feature buffer, in samples or bytes; None for the device's default.
        analysis: folder of ``lightcl-host analyze`` that decides on the cut, or None.
        device: name of the device profile that the cut is to fit, or None.
        sign: PEM file of the private key to sign the bundle with, or None.
        release: number of a signed bundle, which must grow; None for the seconds since 1970.
    """

    source: SourceOptions
    out: Path
    cut: str = AUTOMATIC
    trunk_dtype: str = AUTO
    calibration: str | None = None
    minimum_agreement: float = MINIMUM_AGREEMENT
    capacity: int = DEFAULT_CAPACITY
    keep_classes: Path | None = None
    with_baselines: bool = False
    sparsity: float = 0.0
    recovery_epochs: int = RECOVERY_EPOCHS
    seed: int = 0
    seed_buffer: str | None = None
    seed_buffer_size: str | None = None
    analysis: Path | None = None
    device: str | None = None
    sign: Path | None = None
    release: int | None = None
