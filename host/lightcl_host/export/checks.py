"""Checks of an export that need no network; opening it takes longest, so they come first."""

from lightcl_edge.bundle.writing import check_replaceable
from lightcl_edge.console.progress import Progress
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.errors import BundleError, DataError
from lightcl_host.analysis.record import read_analysis
from lightcl_host.export.class_names import OWN, check_capacity
from lightcl_host.export.cut_choice import check_cut
from lightcl_host.export.options import ExportOptions
from lightcl_host.export.replaced_bundle import identity_at
from lightcl_profiler.devices.profile import load_profile


def check_export(options: ExportOptions, progress: Progress, *, analysed: bool = True) -> None:
    """Refuse paths, data and devices that do not exist, and options that do not go together.

    ``analysed`` is False where the analysis that the options name is still to be made. Raises LightclError, which names
    the first option that can't be used.
    """
    check_capacity(options.capacity)
    check_replaceable(options.out)
    if identity_at(options.out) is not None and not options.force:
        raise BundleError(f"{options.out} holds a bundle already; name another --out, or replace it with --force")
    check_cut(options.cut, options.analysis)
    if options.device is not None:
        load_profile(options.device)
    if options.analysis is not None and analysed:
        read_analysis(options.analysis)
    if options.keep_classes not in (None, OWN) and not options.keep_classes.is_file():
        raise DataError(f"no file at --keep-classes {options.keep_classes}; expected a text file, a name a line")
    for spec in (options.calibration, options.seed_buffer):
        if spec is not None:
            for note in open_dataset(spec).all_notes():
                progress.note_once(note)
