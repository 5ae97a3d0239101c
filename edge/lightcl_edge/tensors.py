"""Read and write safetensors; damaged files become the caller's own error."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.durable import DurableFile, make_folders
from lightcl_edge.errors import LightclError

#: numpy's name of a little-endian type -> safetensors' name.
_DTYPES = {"<f4": "F32", "<f8": "F64", "<i8": "I64", "<i4": "I32", "|u1": "U8", "|b1": "BOOL", "<f2": "F16"}


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
    make_folders(path.parent)
    with DurableFile(path) as file:
        for part in (len(text).to_bytes(8, "little"), text):
            file.write(part)
            digest.update(part)
        for name in sorted(tensors):
            content = _bytes_of(tensors[name])
            file.write(content.data)
            digest.update(content.data)
        file.sync()
    return 8 + len(text) + end, digest.hexdigest()


def _bytes_of(tensor: NDArray[Any]) -> NDArray[np.uint8]:
    """The tensor's memory, row-major; copied only when it is laid out otherwise."""
    return np.ascontiguousarray(tensor).reshape(-1).view(np.uint8)
