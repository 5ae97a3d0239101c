"""Read and write safetensors; damaged files become the caller's own error."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import LightclError

#: numpy's name of a little-endian type -> safetensors' name.
_DTYPES = {"<f4": "F32", "<f8": "F64", "<i8": "I64", "<i4": "I32", "|u1": "U8", "|b1": "BOOL", "<f2": "F16"}

#: Largest copy made to write a tensor that is not laid out row by row.
_COPY_BYTES = 2**18


def read_tensors(path: Path, error_class: type[LightclError]) -> dict[str, NDArray[np.generic]]:
    """All tensors of a safetensors file.

    Args:
        path: the file.
        error_class: what to raise when it can't be read.

    Returns:
        Name -> array, each a copy that may be changed.

    Raises:
        LightclError: of ``error_class``, naming the file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except FileNotFoundError as error:
        raise error_class(f"{path} is missing") from error
    except (SafetensorError, ValueError, KeyError, OSError) as error:
        raise error_class(f"{path} is damaged ({error}); expected a safetensors file") from error


def write_tensors(path: Path, tensors: Mapping[str, NDArray[Any]]) -> tuple[int, str]:
    """Write a safetensors file tensor by tensor, without a copy of all of them, and sync it.

    Names are sorted, so that equal tensors give equal bytes.

    Args:
        path: the file; its folder is made if missing.
        tensors: name -> array of a type in ``_DTYPES``.

    Returns:
        The number of bytes written and their SHA-256.
    """
    header: dict[str, object] = {}
    end = 0
    for name in sorted(tensors):
        start, end = end, end + tensors[name].nbytes
        entry = {
            "dtype": _DTYPES[tensors[name].dtype.str],
            "shape": list(tensors[name].shape),
            "data_offsets": [start, end],
        }
        header[name] = entry
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    digest = hashlib.sha256()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for part in (len(text).to_bytes(8, "little"), text):
            file.write(part)
            digest.update(part)
        for name in sorted(tensors):
            for part in _parts_of(tensors[name]):
                file.write(part)
                digest.update(part)
        file.flush()
        os.fsync(file.fileno())
    return 8 + len(text) + end, digest.hexdigest()


def _parts_of(tensor: NDArray[Any]) -> Iterator[memoryview]:
    """The tensor's values, row-major; where it is laid out otherwise, copies of a bounded part at a time."""
    if tensor.flags.c_contiguous or not tensor.ndim or not tensor.size:
        yield np.ascontiguousarray(tensor).reshape(-1).view(np.uint8).data
        return
    rows = max(1, _COPY_BYTES * len(tensor) // tensor.nbytes)
    for start in range(0, len(tensor), rows):
        yield np.ascontiguousarray(tensor[start : start + rows]).reshape(-1).view(np.uint8).data
