"""What of an export can be refused before the network is opened and exported, which takes longest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lightcl_edge.bundle.writing import check_replaceable
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.errors import DataError
from lightcl_host.export.class_names import check_capacity
from lightcl_host.export.cut_choice import check_cut

if TYPE_CHECKING:
    from lightcl_host.export.options import ExportOptions


def check_export(options: ExportOptions, *, analysed: bool = True) -> None:
    """Refuse paths, data specifications and devices that do not exist, and options that do not go together.

    Args:
        options: of the export.
        analysed: whether the analysis that the options name must be there already.

    Raises:
        LightclError: naming the first that can't be used.
    """
    check_capacity(options.capacity)
    check_replaceable(options.out)
    check_cut(options.cut, options.analysis)
    _check_device(options.device)
    if options.analysis is not None and analysed:
        from lightcl_host.analysis.record import read_analysis

        read_analysis(options.analysis)
    _check_names(options.keep_classes)
    for spec in (options.calibration, options.seed_buffer):
        if spec is not None:
            open_dataset(spec)


def _check_device(name: str | None) -> None:
    if name is not None:
        from lightcl_profiler.devices.profile import load_profile

        load_profile(name)


def _check_names(path: Path | None) -> None:
    if path is not None and not path.is_file():
        raise DataError(f"no file at --keep-classes {path}; expected a text file, a name a line")
