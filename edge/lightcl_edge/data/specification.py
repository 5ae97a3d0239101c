"""Open the data set that a specification names: ``BASE`` or ``BASE@SELECTION``.

``BASE`` is a folder with one sub-folder a class, an ``.npz`` file with ``x`` and ``y``, or a named source (``digits``,
``digits:test``, ``cifar10:PATH``, ``cifar10:test:PATH``). ``@2/5`` selects the second of five tasks: the classes are
cut in order into five parts. ``@1-3/5`` selects the first three tasks together.

A folder that holds ``train`` and ``val`` or ``test``, each with class folders, is a set that was divided before:
learning takes ``train``, evaluating ``test``, or ``val`` where there is no ``test``.
"""

import re
from pathlib import Path
from typing import Literal

import numpy as np

from lightcl_edge.console.text import format_bytes
from lightcl_edge.data.dataset import ArrayDataset, Dataset, FolderDataset
from lightcl_edge.data.decoding import SMALL_DECODING_BYTES, UNREADABLE
from lightcl_edge.data.image_folders import look_into
from lightcl_edge.errors import DataError, DoesNotFitError
from lightcl_edge.machine.memory_limits import spare_bytes

#: The largest array of an .npz file, unpacked.
MAX_ARRAY_BYTES = 2**30
Use = Literal["learn", "evaluate"]
#: Names of the parts of a divided set, the preferred one first.
_PARTS = {"learn": ("train", "training"), "evaluate": ("test", "testing", "val", "valid", "validation")}
_SELECTION = re.compile(r"^(?P<base>.+)@(?P<first>\d+)(?:-(?P<last>\d+))?/(?P<tasks>\d+)$")


def open_dataset(spec: str, use: Use = "learn") -> Dataset:
    """Open a data set; the images of a folder are read later, one by one. ``use`` chooses the part of a divided one.

    Raises DataError when there is no such data or the selection does not fit it, and DoesNotFitError when the arrays of
    an ``.npz`` file need more memory than is left.
    """
    match = None if Path(spec).exists() else _SELECTION.match(spec)
    if match is None:
        return _open_base(spec, use)
    whole = _open_base(match["base"], use)
    first, tasks = int(match["first"]), int(match["tasks"])
    last = int(match["last"] or first)
    count = len(whole.classes)
    if not 1 <= first <= last <= tasks or tasks > count:
        raise DataError(
            f"{spec}: found tasks {first} to {last} of {tasks}, expected 1 to at most {count} (its classes)"
        )
    edges = [round(task * count / tasks) for task in range(tasks + 1)]
    wanted = whole.classes[edges[first - 1] : edges[last]]
    rows = [whole.classes.index(name) for name in wanted]
    return whole.subset(np.flatnonzero(np.isin(whole.labels, rows)), wanted)


def _open_base(spec: str, use: Use) -> Dataset:
    path = Path(spec)
    if path.suffix == ".npz":
        return _open_npz(path)
    if not path.exists():
        from importlib.metadata import entry_points

        name, _, rest = spec.partition(":")
        sources = {entry.name: entry for entry in entry_points(group="lightcl_edge.datasets")}
        if name in sources:
            split, _, folder = rest.partition(":") if rest.split(":")[0] in ("train", "test") else ("train", "", rest)
            dataset = sources[name].load()(split=split, folder=Path(folder) if folder else None)
            if not isinstance(dataset, Dataset):
                raise DataError(f"data source {name!r} gave {type(dataset).__name__}, expected a Dataset")
            return dataset
    part = _part_of_divided(path, use)
    dataset = FolderDataset(part or path)
    if part is not None:
        dataset.notes = [f"{path} is divided: {part.name} is taken to {use}"]
    return dataset


def _part_of_divided(folder: Path, use: Use) -> Path | None:
    """The part of a divided set; None where the sub-folders are classes."""
    try:
        parts = {path.name.lower(): path for path in look_into(folder).folders}
        known = {name for names in _PARTS.values() for name in names}
        divided = set(parts) <= known and all(any(name in parts for name in names) for names in _PARTS.values())
        if divided and all(look_into(path).folders for path in parts.values()):
            return next(parts[name] for name in _PARTS[use] if name in parts)
    except OSError:
        pass  # opening the data set reports it
    return None


def _refuse_arrays_that_do_not_fit(path: Path, needed_bytes: int) -> None:
    """Arrays are read whole, before there is a plan."""
    if needed_bytes > SMALL_DECODING_BYTES and needed_bytes > (left := max(0, spare_bytes())):
        raise DoesNotFitError(
            f"{path} unpacks to {format_bytes(needed_bytes)}, but only {format_bytes(left)} of memory are left; "
            "use a folder with one sub-folder a class, whose images are read one at a time",
            {"plan": {"peak_bytes": needed_bytes}, "allowed_bytes": left},
        )


def _open_npz(path: Path) -> Dataset:
    if not path.is_file():
        raise DataError(f"no data at {path}; expected an .npz file with x (images) and y (classes)")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            if not isinstance(arrays, np.lib.npyio.NpzFile):
                raise DataError(f"{path} holds a single array; expected an .npz file with x (images) and y (classes)")
            missing = {"x", "y"} - set(arrays.files)
            if missing:
                raise DataError(f"{path} lacks {sorted(missing)}; expected arrays x (images) and y (classes)")
            sizes = [info.file_size for info in arrays.zip.infolist()] if arrays.zip else []
            largest = max(sizes, default=0)
            if largest > MAX_ARRAY_BYTES:
                raise DataError(f"{path} unpacks to {largest} bytes, expected at most {MAX_ARRAY_BYTES} an array")
            _refuse_arrays_that_do_not_fit(path, sum(sizes))
            return ArrayDataset(arrays["x"], arrays["y"], str(path))
    except UNREADABLE as error:
        raise DataError(f"{path} can't be read as .npz ({error}); expected arrays x and y without objects") from error
