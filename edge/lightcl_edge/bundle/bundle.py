"""Open, check and write bundles: what a host hands to a device. The format is in ``docs/reference/bundle.md``."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.graph_names import EVALUATE, FEATURES, FORWARD, LOGITS, TAPS
from lightcl_edge.bundle.listing import listing_problems, unpack
from lightcl_edge.bundle.manifest import MANIFEST, MAX_MANIFEST_BYTES, FileInfo, Manifest, StepGraph, parse_manifest
from lightcl_edge.bundle.signature import MAX_SIGNATURE_BYTES, SIGNATURE, check_signature
from lightcl_edge.errors import BundleError, HugeHeaderError, LinkError
from lightcl_edge.files.external_data import refuse_external_data
from lightcl_edge.files.plain import FileTime, file_time, hashes_of, read_limited
from lightcl_edge.files.tensors import TensorFile, check_parameters, read_tensors
from lightcl_edge.machine.forks import OwnFolder

TRUNK = "trunk.onnx"
HEAD = "head.onnx"
HEAD_PARAMETERS = "head.safetensors"
GOLDEN = "golden.safetensors"
BUFFER = "buffer.safetensors"
WHOLE_NETWORK = "model.onnx"
REQUIRED = (TRUNK, HEAD, HEAD_PARAMETERS, GOLDEN)
#: A folder may hold any number of files that do not belong to it.
MAX_PROBLEMS = 100


class Bundle:
    """A bundle whose manifest and file sizes were checked. Each file's hash is checked on first use.

    Use :meth:`open`. A zip (``.lclb``) is unpacked into a temporary folder that lives as long as the object. The
    ``identity`` is the SHA-256 of ``manifest.json``, which names every file by hash: equal means the same bundle.
    """

    def __init__(self, folder: Path, manifest: Manifest, identity: str, unpacked: object = None) -> None:
        self.folder, self.manifest, self.identity = folder, manifest, identity
        self._unpacked = unpacked
        self._files = {entry.path: entry for entry in manifest.files}
        self._checked: dict[Path, FileTime] = {}  # as each file was when its hash was checked

    @classmethod
    def open(cls, path: Path | str, may_lack: Sequence[str] = ()) -> Bundle:
        """Open a bundle folder or ``.lclb`` file.

        Listed files in ``may_lack`` may be missing in a folder: a state erases some from its own copy.

        Raises:
            BundleError: when it is missing, of another format, incomplete, or holds what it must not.
        """
        bundle = cls._unchecked(Path(path))
        folder = bundle.folder
        lacking = [] if bundle._unpacked else [name for name in may_lack if not (folder / name).exists()]
        for _, problem in listing_problems(folder, bundle.manifest, REQUIRED, lacking):
            raise problem
        return bundle

    @classmethod
    def inspect(cls, path: Path | str) -> tuple[Bundle, list[tuple[str, BundleError]]]:
        """As :meth:`open`, but gives at most ``MAX_PROBLEMS`` files with what is wrong with each.

        Raises:
            BundleError: when it is missing, of another format, or its manifest can't be true.
        """
        bundle = cls._unchecked(Path(path))
        problems = listing_problems(bundle.folder, bundle.manifest, REQUIRED)
        return bundle, list(islice(problems, MAX_PROBLEMS))

    @classmethod
    def _unchecked(cls, where: Path) -> Bundle:
        """A bundle whose manifest makes sense; its files are not looked at."""
        if where.is_dir():
            return cls._with_manifest(where)
        if where.is_file():
            unpacked = OwnFolder("lightcl-bundle-")
            unpack(where, unpacked.path)
            return cls._with_manifest(unpacked.path, unpacked)
        raise BundleError(f"no bundle at {where}; expected a bundle folder or .lclb file made by lightcl-host export")

    @classmethod
    def _with_manifest(cls, folder: Path, unpacked: object = None) -> Bundle:
        manifest_path = folder / MANIFEST
        for special in (manifest_path, folder / SIGNATURE):
            if special.is_symlink():
                raise LinkError(f"{special.name} is a symbolic link, expected a file")
        if not manifest_path.is_file():
            raise BundleError(f"{folder} has no {MANIFEST}; expected a bundle made by lightcl-host export")
        if manifest_path.stat().st_size > MAX_MANIFEST_BYTES:
            raise HugeHeaderError(f"{MANIFEST} is larger than {MAX_MANIFEST_BYTES} bytes; export the bundle again")
        data = manifest_path.read_bytes()
        return cls(folder, parse_manifest(data), hashlib.sha256(data).hexdigest(), unpacked)

    def all_files(self) -> list[str]:
        """Sorted names of all files of the bundle with the manifest; each is checked against the manifest."""
        self.paths(list(self._files))
        extra = [SIGNATURE] if (self.folder / SIGNATURE).is_file() else []
        return sorted([*self._files, MANIFEST, *extra])

    def signature(self) -> bytes | None:
        """The content of ``manifest.sig``, or None for a bundle that is not signed."""
        path = self.folder / SIGNATURE
        return read_limited(path, MAX_SIGNATURE_BYTES) if path.is_file() else None

    def check_signature(self, key: str) -> int:
        """Check that the bundle is signed by a public key (hexadecimal); gives the release number."""
        return check_signature(self.signature(), (self.folder / MANIFEST).read_bytes(), key)

    def has(self, name: str) -> bool:
        """Whether the bundle carries this file."""
        return name in self._files

    def sha256(self, name: str) -> str:
        """The recorded hash of one of its files. A feature buffer belongs to the trunk of this hash."""
        return self._entry(name).sha256

    def path(self, name: str) -> Path:
        """The path of one of its files, which is checked as by :meth:`paths`."""
        return self.paths([name])[0]

    def paths(self, names: Sequence[str]) -> list[Path]:
        """The paths of some of its files, each of which is checked against the manifest on first use.

        Raises:
            BundleError: when the bundle has no such file, its content differs, or an ONNX file refers to others.
        """
        entries = {self.folder / name: self._entry(name) for name in names}
        present = {path: file_time(path) for path in entries}
        new = {path: entry for path, entry in entries.items() if self._checked.get(path) != present[path]}
        for path, entry in new.items():
            if not path.is_file():
                raise BundleError(
                    f"{entry.path} is missing, expected a file of {entry.bytes} bytes; copy the bundle again"
                )
        for entry, found in zip(new.values(), hashes_of(new) if new else [], strict=True):
            if found != entry.sha256:
                raise BundleError(
                    f"{entry.path} is damaged: SHA-256 found {found[:12]}..., expected {entry.sha256[:12]}...; "
                    "copy the bundle again"
                )
        if graphs := [path for path in new if path.suffix == ".onnx"]:
            refuse_external_data(graphs)
        self._checked.update(present)
        return [self.folder / name for name in names]

    def step_graphs(self, *, steps: bool = True) -> list[tuple[StepGraph, Path]]:
        """The training-step graphs with their files, each checked as by :meth:`paths`.

        Without ``steps`` only those that run the head and change nothing.
        """
        graphs = [graph for graph in self.manifest.training_step if steps or graph.update in (FORWARD, EVALUATE)]
        return list(zip(graphs, self.paths([graph.path for graph in graphs]), strict=True))

    def _entry(self, name: str) -> FileInfo:
        if name not in self._files:
            raise BundleError(f"the bundle has no {name}; found {sorted(self._files)}; export it again")
        return self._files[name]

    def head_parameters(self) -> dict[str, NDArray[np.float32]]:
        """The trained tensors as the host exported them, by name.

        Raises:
            BundleError: when a name, shape or type is not the manifest's, or a value is not finite.
        """
        expected = {parameter.name: tuple(parameter.shape) for parameter in self.manifest.head.parameters}
        return check_parameters(TensorFile(self.path(HEAD_PARAMETERS), BundleError), expected, HEAD_PARAMETERS)

    def golden(self) -> dict[str, NDArray[np.generic]]:
        """``images`` (uint8, n h w 3), ``features``, ``logits`` and ``taps`` (float32) as the host computed them."""
        tensors = read_tensors(self.path(GOLDEN), BundleError)
        missing = {"images", FEATURES, LOGITS, TAPS} - set(tensors)
        if missing:
            raise BundleError(f"{GOLDEN} lacks {sorted(missing)}; export the bundle again")
        return tensors
