"""The files of one generation: write them, read them back against their hashes, remove them."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lightcl_edge.bundle.bundle import BUFFER, Bundle
from lightcl_edge.errors import StateError
from lightcl_edge.files.durable import fsync_folder, remove_tree, rename, write_durably
from lightcl_edge.files.plain import FileTime, file_time, sha256_of
from lightcl_edge.files.records import read_record
from lightcl_edge.files.strict_json import read_json
from lightcl_edge.files.tensors import TensorFile, Tensors, read_tensors, write_tensors
from lightcl_edge.state.generation import CLASSIFIER, HEAD, HOLDOUT, META, STATE_FORMAT, STRATEGY, Generation, Meta
from lightcl_edge.state.generation_checks import refuse_unfit_tensors, way_back, way_out
from lightcl_edge.state.sums_files import FOLDER, HASH_DIGITS, class_hash, stored_sums, write_sums

#: The files of a generation that hold tensors; those of the sums lie in a folder beside them.
TENSOR_FILES = (HEAD, STRATEGY, HOLDOUT, BUFFER, CLASSIFIER)


def write_generation(folder: Path, generation: Generation) -> Meta:
    """Write and sync all files of a generation into a new folder; gives its record with their hashes.

    Sums that still lie in another generation's folder are linked from there, and so is a head that no step has changed.
    """
    remove_tree(folder)
    content: dict[str, Mapping[str, NDArray[Any]]] = {
        HEAD: generation.parameters,
        STRATEGY: generation.strategy_state,
        HOLDOUT: generation.holdout,
        BUFFER: generation.buffer,
        CLASSIFIER: generation.classifier,
    }
    hashes = {name: _write(folder / name, tensors) for name, tensors in content.items()}
    hashes |= write_sums(folder, generation.sums)
    counts = generation.sums.counts
    images = [counts.get(name, 0) for name in generation.meta.classes]
    final = replace(generation.meta, images_by_class=images, files=hashes)
    write_durably(folder / META, json.dumps(vars(final), indent=1, sort_keys=True, allow_nan=False).encode())
    fsync_folder(folder)
    return final


def _write(path: Path, tensors: Mapping[str, NDArray[Any]]) -> str:
    known = tensors.keep_in(path) if isinstance(tensors, TensorFile) else None
    return known or write_tensors(path, tensors)


def refuse_other_format(folder: Path) -> None:
    """Raise a StateError when the record of a generation is of another format; a damaged one says nothing."""
    with suppress(OSError, ValueError):
        _refuse_other_format(folder / META, read_json(folder / META))


def _refuse_other_format(path: Path, record: object) -> None:
    found = record.get("format") if isinstance(record, dict) else None
    if found == STATE_FORMAT:
        return
    advice = "install a newer lightcl-edge"
    if isinstance(found, int) and found < STATE_FORMAT:
        advice = (
            "it was learned by an older lightcl-edge and lacks the sums that this one learns from: export the bundle "
            "again, and teach the images again in another --state"
        )
    raise StateError(f"{path} has format {str(found)[:20]}, expected {STATE_FORMAT}; {advice}")


def read_meta(folder: Path, number: int) -> Meta:
    """The record of the generation with this number, or a StateError when it is missing or damaged."""
    path = folder / META
    try:
        value = read_json(path)
        _refuse_other_format(path, value)
        meta = read_record(Meta, value, "", ValueError, "all of its keys", complete=True)
        if meta.generation != number or not 0 <= meta.parent < number:
            raise ValueError(f"it is generation {meta.generation} with parent {meta.parent}, expected {number}")
        if len(meta.images_by_class) != len(meta.classes):
            raise ValueError(f"it counts images of {len(meta.images_by_class)} classes, expected {len(meta.classes)}")
        hashed = {file.removeprefix(f"{FOLDER}/")[:HASH_DIGITS] for file in meta.files}
        taught = (name for name, count in zip(meta.classes, meta.images_by_class, strict=True) if count)
        if lacking := [name for name in taught if class_hash(name) not in hashed]:
            raise ValueError(f"it has no hash of the sums of {lacking[:3]}")
    except (OSError, ValueError) as error:
        raise StateError(f"{path} is damaged ({error}); {way_back(folder)}") from error
    return meta


def read_generation(folder: Path, meta: Meta, bundle: Bundle) -> Generation:
    """Read the generation of a record, and check the hash and the content of every other file.

    The head's tensors are read later. The sums of a class are checked when they are asked for.

    Raises:
        StateError: when a file is missing or damaged.
    """
    tensors: dict[str, Tensors] = {}
    for name in TENSOR_FILES:
        try:
            found = sha256_of(folder / name)
        except OSError as error:
            raise StateError(f"{folder / name} can't be read ({error}); {way_back(folder)}") from error
        if found != meta.files.get(name):
            raise StateError(f"{folder / name} is damaged (its hash differs); {way_out(folder / name, bundle)}")
        if name != HEAD:
            tensors[name] = read_tensors(folder / name, StateError)
    head = TensorFile(folder / HEAD, StateError, meta.files[HEAD])
    refuse_unfit_tensors(folder, bundle, len(meta.classes), head, tensors)
    sums = stored_sums(folder, meta, bundle.manifest.head.tap_size)
    return Generation(meta, head, tensors[STRATEGY], tensors[HOLDOUT], sums, tensors[BUFFER], tensors[CLASSIFIER])


def file_times(folder: Path) -> list[FileTime]:
    """Tells whether a generation is still the one that was read or written before."""
    return [file_time(folder / name) for name in (META, *TENSOR_FILES)]


def as_read_back(folder: Path, written: Generation) -> Generation:
    """A generation that was just written there, without reading it: head and sums stay on the disk."""
    head = TensorFile(folder / HEAD, StateError, written.meta.files[HEAD])
    return replace(written, parameters=head, sums=stored_sums(folder, written.meta, written.sums.size))


def drop_generations(folders: Sequence[Path]) -> None:
    """Remove generations that lie beside each other. One that a crash leaves half removed is no generation any more."""
    for folder in folders:
        rename(folder, folder.with_suffix(".old"))
    if folders:
        fsync_folder(folders[0].parent)
    for folder in folders:
        remove_tree(folder.with_suffix(".old"))
