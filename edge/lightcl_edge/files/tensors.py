"""Read and write safetensors files, and the array types of the product."""

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import BundleError, DuplicateNameError, HugeHeaderError, LightclError, NotFiniteError
from lightcl_edge.files.durable import link_or_copy, write_parts_durably
from lightcl_edge.files.plain import open_plain, read_limited
from lightcl_edge.files.strict_json import RepeatedKeyError, parse_json

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
ByteArray = NDArray[np.uint8]
#: Tensors by name.
Tensors = Mapping[str, NDArray[np.generic]]
#: Trained tensors of the head by name.
Parameters = Mapping[str, FloatArray]

#: An honest header takes about a hundred bytes a tensor.
MAX_HEADER_BYTES, MAX_TENSORS = 4 * 2**20, 65_536
#: numpy's name of a little-endian type -> safetensors' name.
_DTYPES = {"<f4": "F32", "<f8": "F64", "<i8": "I64", "<i4": "I32", "|u1": "U8", "|b1": "BOOL", "<f2": "F16"}

#: The first byte of a pickle. A header of such a length would make scanners take the file for one.
_PICKLE_MARK = 0x80

#: Read at once to look for NaN, and to copy a tensor.
_PIECE_BYTES = 2**18


def distinct(values: IntArray) -> IntArray:
    """The values without repeats, ascending.

    For ``np.unique`` alone numpy imports masked arrays, which takes a megabyte and 20 ms.
    """
    return np.unique(values, return_counts=True)[0]


def read_tensors(path: Path, error_class: type[LightclError]) -> dict[str, NDArray[np.generic]]:
    """All tensors of a safetensors file by name, each a copy that may be changed. Raises ``error_class``."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    check_header(path, error_class)
    try:
        return dict(load_file(path))
    except (SafetensorError, ValueError, KeyError, TypeError, OSError, OverflowError) as error:
        raise error_class(f"{path} is damaged ({error}); expected a safetensors file") from error


def read_hashed_tensors(
    path: Path, sha256: str, limit_bytes: int, error_class: type[LightclError]
) -> dict[str, NDArray[np.generic]]:
    """As :func:`read_tensors`, for a file of known SHA-256 and bounded size, which is read once and not mapped.

    Raises ``error_class`` also when the hash is another one.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        data = read_limited(path, limit_bytes)
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError("its hash differs")
        _checked_header(path, BytesIO(data), len(data))
        return dict(load(data))
    except RepeatedKeyError as error:
        raise DuplicateNameError(f"{path}: its header {error}") from error
    except (SafetensorError, ValueError, KeyError, TypeError, OSError, OverflowError) as error:
        raise error_class(f"{path} is damaged ({error})") from error


def check_header(path: Path, error_class: type[LightclError]) -> dict[str, Any]:
    """Check the header of a safetensors file before a library believes it.

    Gives name -> ``dtype``, ``shape`` and ``data_offsets``.

    Raises:
        LightclError: of ``error_class``, naming the file.
        HugeHeaderError: when the header is larger than any honest one.
        DuplicateNameError: when a tensor is named twice.
    """
    try:
        size = path.stat().st_size
        with open_plain(path) as file:
            return _checked_header(path, file, size)
    except FileNotFoundError as error:
        raise error_class(f"{path} is missing") from error
    except RepeatedKeyError as error:
        raise DuplicateNameError(f"{path}: its header {error}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise error_class(f"{path} is damaged ({error}); expected a safetensors file") from error


def _checked_header(path: Path, file: BinaryIO, size: int) -> dict[str, Any]:
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER_BYTES:
        raise HugeHeaderError(f"{path} has a header of {length} bytes, expected at most {MAX_HEADER_BYTES}")
    header = parse_json(file.read(length))
    _check_tensors(header, size - 8 - length)
    return {name: tensor for name, tensor in header.items() if name != "__metadata__"}


def _check_tensors(header: Any, content_bytes: int) -> None:
    """Check that numpy has the types, that shapes fit their bytes, and that there are no gaps between tensors."""
    if not isinstance(header, dict) or len(header) > MAX_TENSORS:
        raise ValueError(f"the header is no object of at most {MAX_TENSORS} tensors")
    sizes = {safe: int(np.dtype(name).itemsize) for name, safe in _DTYPES.items()}
    at = 0
    for start, end, shape, kind in sorted(
        (*tensor["data_offsets"], tensor["shape"], str(tensor["dtype"]))
        for name, tensor in header.items()
        if name != "__metadata__"
    ):
        if not all(type(number) is int and 0 <= number < 2**48 for number in (start, end, *shape)) or len(shape) > 16:
            raise ValueError("an offset or side is no sensible number")
        if start != at or end - start != math.prod(shape) * sizes[kind]:
            raise ValueError(f"a tensor of shape {shape} and type {kind} takes bytes {start} to {end}, after {at}")
        at = end
    if at != content_bytes:
        raise ValueError(f"the tensors take {at} bytes, the file has {content_bytes}")


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> str:
    """Write a safetensors file tensor by tensor, without a copy of all of them, and sync it.

    Names are sorted, so that equal tensors give equal bytes. Gives the SHA-256 of the file.
    """
    header: dict[str, object] = {}
    end = 0
    for name in sorted(tensors):
        start, end = end, end + tensors[name].nbytes
        kind, shape = _DTYPES[tensors[name].dtype.str], list(tensors[name].shape)
        header[name] = {"dtype": kind, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) % 256 == _PICKLE_MARK:
        text += b" " * 8
    values = (_memory_of(tensors[name]) for name in sorted(tensors))
    return write_parts_durably(path, chain([len(text).to_bytes(8, "little") + text], values))


def _memory_of(tensor: NDArray[Any]) -> memoryview:
    """The tensor's bytes, or the tensor itself where it is laid out otherwise than row by row."""
    if tensor.flags.c_contiguous or not tensor.ndim or not tensor.size:
        return np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data
    return tensor.data


class TensorFile(Mapping[str, FloatArray]):
    """The tensors of a safetensors file, each read when it is asked for and not kept.

    A whole head in memory beside the engine's own copy would be the peak of a training run. The file is opened anew for
    each tensor, because pages of a mapped file count as memory until it is closed. ``sha256`` is that of a file that is
    durable and never written to again; None for any other.
    """

    def __init__(self, path: Path, error_class: type[LightclError], sha256: str | None = None) -> None:
        self._path, self._error_class, self.sha256 = path, error_class, sha256
        self._header = check_header(path, error_class)

    def keep_in(self, path: Path) -> str | None:
        """Give a file of known SHA-256 a second name, and give that hash; None, and no second name, for any other."""
        if self.sha256 is not None:
            link_or_copy(self._path, path)
        return self.sha256

    def kinds(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name -> safetensors' name of the type, and shape. The content is not read."""
        return {name: (str(tensor["dtype"]), tuple(tensor["shape"])) for name, tensor in self._header.items()}

    def is_finite(self) -> bool:
        """Whether a file of float32 tensors only holds neither NaN nor infinity; it is read in small pieces."""
        with self._path.open("rb") as file:
            file.seek(8 + int.from_bytes(file.read(8), "little"))
            while piece := file.read(_PIECE_BYTES):
                if not np.isfinite(np.frombuffer(piece, "<f4")).all():
                    return False
        return True

    def pieces(self, name: str) -> Iterator[FloatArray]:
        """A tensor of float32 in runs of its first axis, each a few hundred kilobytes; a scalar whole."""
        kind, shape = self.kinds()[name]
        if kind != "F32" or not shape or 0 in shape:
            yield self[name]
            return
        row = math.prod(shape[1:])
        rows = max(1, _PIECE_BYTES // (4 * row))
        try:
            with open_plain(self._path) as file:
                start = 8 + int.from_bytes(file.read(8), "little")
                file.seek(start + int(self._header[name]["data_offsets"][0]))
                for at in range(0, shape[0], rows):
                    count = min(rows, shape[0] - at)
                    yield np.frombuffer(file.read(4 * count * row), "<f4").reshape(count, *shape[1:])
        except FileNotFoundError as error:
            raise self._error_class(f"{self._path} is missing") from error
        except (OSError, ValueError) as error:
            raise self._error_class(f"{self._path} is damaged ({error}); expected a safetensors file") from error

    def __getitem__(self, name: str) -> FloatArray:
        from safetensors import SafetensorError, safe_open

        if name not in self._header:
            raise KeyError(name)
        try:
            with safe_open(self._path, framework="numpy") as file:
                tensor: FloatArray = file.get_tensor(name)
        except FileNotFoundError as error:
            raise self._error_class(f"{self._path} is missing") from error
        except (SafetensorError, ValueError, KeyError, TypeError, OSError, OverflowError) as error:
            message = f"{self._path} is damaged ({error}); expected a safetensors file"
            raise self._error_class(message) from error
        return tensor

    def __contains__(self, name: object) -> bool:  # of a Mapping it would read the tensor
        return name in self._header

    def __iter__(self) -> Iterator[str]:
        return iter(self._header)

    def __len__(self) -> int:
        return len(self._header)


def check_parameters(
    tensors: Mapping[str, NDArray[np.generic]], expected: Mapping[str, tuple[int, ...]], origin: str
) -> dict[str, NDArray[np.float32]]:
    """Check that tensors have exactly the expected names and shapes, are float32 and finite.

    A BundleError names their file (``origin``) and the first tensor that differs.
    """
    _check_names(tensors, expected, origin)
    return {name: _checked(name, tensors[name], shape, origin) for name, shape in expected.items()}


def copy_parameters(
    tensors: Mapping[str, NDArray[np.generic]], into: Mapping[str, NDArray[np.float32]], origin: str
) -> None:
    """Copy tensors into arrays of the same names and shapes, each checked as by :func:`check_parameters`.

    Those of a file are read piece by piece.

    Raises:
        BundleError: naming the first tensor that differs.
    """
    _check_names(tensors, into, origin)
    for name, array in into.items():
        if isinstance(tensors, TensorFile) and tensors.kinds()[name] == ("F32", array.shape):
            at = 0
            for piece in tensors.pieces(name):
                target = array[at : at + len(piece)] if array.ndim else array
                np.copyto(target, _checked(name, piece, target.shape, origin))
                at += len(piece) if array.ndim else 0
        else:
            np.copyto(array, _checked(name, tensors[name], array.shape, origin))


def _check_names(found: Mapping[str, object], expected: Mapping[str, object], origin: str) -> None:
    differing = sorted(set(found) ^ set(expected))
    if differing:
        raise BundleError(
            f"{origin}: tensors {differing[:4]} are only in the file or only in the manifest; expected the same names"
        )


def _checked(name: str, tensor: NDArray[np.generic], shape: tuple[int, ...], origin: str) -> NDArray[np.float32]:
    if tensor.dtype != np.float32 or tensor.shape != shape:
        raise BundleError(f"{origin}: {name} is {tensor.dtype} {tensor.shape}, expected float32 {shape}")
    if not np.isfinite(tensor).all():
        raise NotFiniteError(f"{origin}: {name} holds NaN or infinity, expected finite numbers")
    return tensor.astype(np.float32, copy=False)
