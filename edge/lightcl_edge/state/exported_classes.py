"""Generation 0: what the bundle brought, without the classes that were forgotten since.

No file of the state's bundle is changed, because hashes and perhaps a signature cover them. When a class of a seeded
buffer (``export --seed-buffer``) is forgotten, ``STATE/forgotten.json`` names it, and a buffer without its samples
replaces ``bundle/buffer.safetensors``. The record has the hash of that buffer. It says nothing about another bundle.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.bundle import BUFFER, HEAD_PARAMETERS, TRUNK, Bundle
from lightcl_edge.bundle.graph_names import BIAS, WEIGHT
from lightcl_edge.data.feature_buffer import BufferIdentity, FeatureBuffer
from lightcl_edge.data.sums import Sums
from lightcl_edge.errors import BundleError, LightclError, StateError
from lightcl_edge.files.durable import fsync_folder, remove, rename, replace_durably
from lightcl_edge.files.plain import sha256_of
from lightcl_edge.files.records import DIFFERENT, hexadecimal, read_record
from lightcl_edge.files.strict_json import read_json
from lightcl_edge.files.tensors import TensorFile, Tensors, read_tensors, write_tensors
from lightcl_edge.state.generation import Generation, Meta
from lightcl_edge.state.generation_checks import check_buffer

NAME = "forgotten.json"
_SEED = "seed-{}.safetensors"


@dataclass(frozen=True)
class Forgotten:
    """The content of ``forgotten.json``."""

    identity: str  # of the bundle
    classes: Annotated[list[str], DIFFERENT] = field(default_factory=list)
    #: Of the buffer that replaces the bundle's; None when the bundle has none.
    buffer_sha256: Annotated[str, hexadecimal(64)] | None = None

    def buffer(self, folder: Path) -> Path:
        """Where the buffer without the forgotten classes lies in a state."""
        return folder / _SEED.format(str(self.buffer_sha256)[:16])


def read_forgotten(folder: Path, bundle: Bundle) -> Forgotten:
    """What was forgotten of a bundle's classes: an empty record when there is none, or it is of another bundle.

    A damaged record is a StateError. Only generation 0 can't be read then.
    """
    path = folder / NAME
    if not path.exists():
        return Forgotten(bundle.identity)
    try:
        found = read_record(Forgotten, read_json(path), "", ValueError, "all of its keys", complete=True)
        if found.identity == bundle.identity and not set(found.classes) <= set(bundle.manifest.classes):
            raise ValueError("classes that the bundle does not have")
    except (OSError, ValueError) as error:
        raise StateError(
            f"{path} is damaged ({error}), expected the classes that were forgotten; generation 0 can't be used, "
            "later ones can"
        ) from error
    return found if found.identity == bundle.identity else Forgotten(bundle.identity)


def base_meta(folder: Path, bundle: Bundle) -> Meta:
    """The record of generation 0. A damaged record of forgotten classes is a StateError."""
    gone = read_forgotten(folder, bundle)
    classes = [name for name in bundle.manifest.classes if name not in gone.classes]
    return Meta(0, 0.0, bundle.identity, classes, images_by_class=[0] * len(classes))


def base_generation(folder: Path, bundle: Bundle) -> Generation:
    """The bundle as generation 0 of a state. A damaged record of forgotten classes, or its buffer, is a StateError."""
    gone = read_forgotten(folder, bundle)
    head: Mapping[str, NDArray[np.float32]] = TensorFile(
        bundle.path(HEAD_PARAMETERS), BundleError, bundle.sha256(HEAD_PARAMETERS)
    )
    classes = list(bundle.manifest.classes)
    for name in gone.classes:
        head = HeadWithout(head, classes.index(name))
        classes.remove(name)
    return Generation(
        meta=base_meta(folder, bundle),
        parameters=head,
        strategy_state={},
        holdout={},
        sums=Sums(bundle.manifest.head.tap_size),
        buffer=_seed(folder, bundle, gone, len(classes)),
    )


def _seed(folder: Path, bundle: Bundle, gone: Forgotten, classes: int) -> Tensors:
    if gone.buffer_sha256 is not None:
        path = gone.buffer(folder)
        if not path.is_file() or sha256_of(path) != gone.buffer_sha256:
            raise StateError(f"{path} is missing or damaged, expected the hash in {NAME}; use a later generation")
        return _checked(read_tensors(path, StateError), bundle, classes, StateError)
    if bundle.has(BUFFER):
        return _checked(read_tensors(bundle.path(BUFFER), BundleError), bundle, classes, BundleError)
    return {}


def _checked(tensors: Tensors, bundle: Bundle, classes: int, kind: type[LightclError]) -> Tensors:
    try:
        check_buffer(tensors, bundle, classes)
    except (StateError, ValueError) as error:
        raise kind(f"the seeded {BUFFER} does not fit: {error}") from error
    return tensors


def forget_base_class(folder: Path, bundle: Bundle, name: str) -> int:
    """Erase a class from generation 0; gives how many samples were erased.

    A second time only clears what a power cut left. The state's lock must be held.
    """
    gone, erased = read_forgotten(folder, bundle), 0
    if name in bundle.manifest.classes and name not in gone.classes:
        base = base_generation(folder, bundle)
        digest: str | None = None
        if base.buffer:
            identity = BufferIdentity(bundle.sha256(TRUNK), bundle.manifest.feature)
            before = FeatureBuffer.from_tensors(base.buffer, identity)
            left = before.forget(base.meta.classes.index(name))
            erased = len(before) - len(left)
            aside = folder / "seed.new"
            digest = write_tensors(aside, left.tensors())
            rename(aside, Forgotten(bundle.identity, [], digest).buffer(folder))
            fsync_folder(folder)
        gone = Forgotten(bundle.identity, [*gone.classes, name], digest)
        replace_durably(folder / NAME, json.dumps(asdict(gone)).encode())
    if gone.classes:
        _clear(folder, gone, bundle.folder)
    return erased


def drop_forgotten(folder: Path) -> None:
    """Remove the record of another bundle, which says nothing about the one that took its place."""
    for path in [folder / NAME, *folder.glob(_SEED.format("*"))]:
        remove(path)


def _clear(folder: Path, gone: Forgotten, bundle: Path) -> None:
    kept = gone.buffer(folder).name if gone.buffer_sha256 is not None else ""
    for path in folder.glob(_SEED.format("*")):
        if path.name != kept:
            remove(path)
    remove(bundle / BUFFER)
    fsync_folder(bundle)
    fsync_folder(folder)


class HeadWithout(Mapping[str, NDArray[np.float32]]):
    """A head's tensors, read one by one, without one row of the classifier and with a zero row at the end."""

    def __init__(self, parameters: Mapping[str, NDArray[np.float32]], row: int) -> None:
        self._parameters, self._row = parameters, row

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        tensor: NDArray[Any] = self._parameters[name]
        if name not in (WEIGHT, BIAS):
            return tensor
        if not 0 <= self._row < len(tensor):
            raise StateError(f"{name} has {len(tensor)} rows, the class to forget has row {self._row}")
        return np.concatenate([np.delete(tensor, self._row, axis=0), np.zeros_like(tensor[:1])])

    def __iter__(self) -> Iterator[str]:
        return iter(self._parameters)

    def __len__(self) -> int:
        return len(self._parameters)
