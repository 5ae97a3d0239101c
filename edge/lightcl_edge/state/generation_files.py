"""The files of one generation: write them, read them back against their hashes, remove them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from lightcl_edge.bundle.bundle import BUFFER, Bundle
from lightcl_edge.errors import StateError
from lightcl_edge.files.durable import fsync_folder, remove_tree, rename, write_durably
from lightcl_edge.files.plain import sha256_of
from lightcl_edge.files.records import read_record
from lightcl_edge.files.strict_json import read_json
from lightcl_edge.files.tensors import TensorFile, Tensors, read_tensors, write_tensors
from lightcl_edge.state.generation import HEAD, HOLDOUT, META, STATE_FORMAT, STRATEGY, Generation, Meta
from lightcl_edge.state.generation_checks import refuse_unfit_tensors, way_back

#: Every file of a generation that holds tensors.
TENSOR_FILES = (HEAD, STRATEGY, HOLDOUT, BUFFER)


def write_generation(folder: Path, generation: Generation) -> Meta:
    """Write and sync all files of a generation into a new folder; gives its record with their hashes."""
    remove_tree(folder)
    content: dict[str, Mapping[str, NDArray[Any]]] = {
        HEAD: generation.parameters,
        STRATEGY: generation.strategy_state,
        HOLDOUT: generation.holdout,
        BUFFER: generation.buffer,
    }
    hashes = {name: write_tensors(folder / name, tensors) for name, tensors in content.items()}
    final = replace(generation.meta, files=hashes)
    write_durably(folder / META, json.dumps(asdict(final), indent=1, sort_keys=True, allow_nan=False).encode())
    fsync_folder(folder)
    return final


def read_meta(folder: Path, number: int) -> Meta:
    """The record of the generation with this number, or a StateError when it is missing or damaged."""
    path = folder / META
    try:
        value = read_json(path)
        found = value.get("format") if isinstance(value, dict) else None
        if found != STATE_FORMAT:
            raise StateError(
                f"{path} has format {str(found)[:20]}, expected {STATE_FORMAT}; install a newer lightcl-edge"
            )
        meta = read_record(Meta, value, "", ValueError, "all of its keys", complete=True)
        if meta.generation != number or not 0 <= meta.parent < number:
            raise ValueError(f"it is generation {meta.generation} with parent {meta.parent}, expected {number}")
    except (OSError, ValueError) as error:
        raise StateError(f"{path} is damaged ({error}); {way_back(folder)}") from error
    return meta


def read_generation(folder: Path, number: int, bundle: Bundle) -> Generation:
    """Read a generation, and check the hash and the content of every file but the head's tensors, which are read later.

    Raises:
        StateError: when a file is missing or damaged.
    """
    meta = read_meta(folder, number)
    tensors: dict[str, Tensors] = {}
    for name in TENSOR_FILES:
        try:
            found = sha256_of(folder / name)
        except OSError as error:
            raise StateError(f"{folder / name} can't be read ({error}); {way_back(folder)}") from error
        if found != meta.files.get(name):
            raise StateError(f"{folder / name} is damaged (its hash differs); {way_back(folder)}")
        if name != HEAD:
            tensors[name] = read_tensors(folder / name, StateError)
    head = TensorFile(folder / HEAD, StateError)
    refuse_unfit_tensors(folder, bundle, len(meta.classes), head, tensors)
    return Generation(meta, head, tensors[STRATEGY], tensors[HOLDOUT], tensors[BUFFER])


def drop_generations(folders: Sequence[Path]) -> None:
    """Remove generations that lie beside each other. One that a crash leaves half removed is no generation any more."""
    for folder in folders:
        rename(folder, folder.with_suffix(".old"))
    if folders:
        fsync_folder(folders[0].parent)
    for folder in folders:
        remove_tree(folder.with_suffix(".old"))
