"""From parsed arguments to the records that the work takes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lightcl_edge.errors import UsageError
from lightcl_host.commands.arguments import three_numbers
from lightcl_host.export.cut_choice import AUTOMATIC
from lightcl_host.export.options import DEFAULT_CAPACITY, ExportOptions
from lightcl_host.pruning.channels import LARGEST_SPARSITY
from lightcl_host.pruning.pruning import RECOVERY_EPOCHS
from lightcl_host.sources.source import SourceOptions
from lightcl_host.trunks.choice import DTYPES, MINIMUM_AGREEMENT, planned_dtype

if TYPE_CHECKING:
    from lightcl_host.analysis.run import AnalyzeOptions

_LARGEST_IMAGE = 4096


def source_options(args: argparse.Namespace) -> SourceOptions:
    """What the command line says about the model.

    Args:
        args: parsed arguments of :func:`add_model_arguments`.

    Returns:
        The record.

    Raises:
        UsageError: when a value is out of range.
    """
    if args.image_size is not None and not 1 <= args.image_size <= _LARGEST_IMAGE:
        raise UsageError(f"--image-size {args.image_size}; expected 1 to {_LARGEST_IMAGE} pixels")
    if args.seed < 0:
        raise UsageError(f"--seed {args.seed}; expected 0 or more")
    std = three_numbers(args.std, "--std")
    if std is not None and min(std) <= 0:
        raise UsageError(f"--std {args.std}; expected numbers above 0")
    mean = three_numbers(args.mean, "--mean")
    return SourceOptions(args.model, args.weights, args.image_size, mean, std, args.seed)


def export_options(
    args: argparse.Namespace, cut: str = AUTOMATIC, data: str | None = None, analysis: Path | None = None
) -> ExportOptions:
    """What the command line says about the bundle.

    Args:
        args: parsed arguments of :func:`add_export_arguments`.
        cut: where to part.
        data: images to calibrate with.
        analysis: folder of an analysis that decides on the cut.

    Returns:
        The record.

    Raises:
        UsageError: when a value is out of range.
    """
    if args.trunk_dtype not in DTYPES:
        raise UsageError(f"--trunk-dtype {args.trunk_dtype}; expected {', '.join(DTYPES)}")
    agreement = MINIMUM_AGREEMENT if args.min_agreement is None else args.min_agreement
    if not 0 <= agreement <= 1:
        raise UsageError(f"--min-agreement {agreement}; expected a share of 0 to 1")
    if not 0 <= args.sparsity <= LARGEST_SPARSITY:
        raise UsageError(f"--sparsity {args.sparsity:g}; expected a share of 0 to {LARGEST_SPARSITY:g}")
    epochs = RECOVERY_EPOCHS if args.recovery_epochs is None else args.recovery_epochs
    if epochs < 0:
        raise UsageError(f"--recovery-epochs {epochs}; expected 0 or more")
    return ExportOptions(
        source=source_options(args),
        out=args.out,
        cut=cut,
        trunk_dtype=args.trunk_dtype,
        calibration=data,
        minimum_agreement=agreement,
        capacity=DEFAULT_CAPACITY if args.max_classes is None else args.max_classes,
        keep_classes=args.keep_classes,
        with_baselines=args.with_baselines,
        sparsity=args.sparsity,
        recovery_epochs=epochs,
        sign=args.sign,
        release=args.release,
        seed=args.seed,
        seed_buffer=args.seed_buffer,
        seed_buffer_size=args.seed_buffer_size,
        analysis=analysis,
        device=args.device,
    )


def analyze_options(args: argparse.Namespace, out: Path, command: str) -> AnalyzeOptions:
    """What the command line says about the analysis.

    Args:
        args: parsed arguments of :func:`add_model_arguments` and :func:`add_analysis_arguments`, and ``--data``.
        out: folder of the results.
        command: for the record.

    Returns:
        The record.
    """
    from lightcl_host.analysis.run import AnalyzeOptions

    return AnalyzeOptions(
        source=source_options(args),
        data=args.data,
        out=out,
        device=args.device,
        tasks=args.tasks,
        images=args.images,
        steps=args.steps,
        learning_rate=args.learning_rate,
        repeats=args.repeats,
        threshold=args.threshold,
        shortlist=args.shortlist,
        seed=args.seed,
        trunk_dtype=planned_dtype(args.trunk_dtype),
        command=command,
    )
