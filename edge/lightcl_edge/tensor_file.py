"""A safetensors file as a mapping that reads one tensor at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.errors import LightclError
from lightcl_edge.tensors import check_header

_PIECE_BYTES = 2**18


class TensorFile(Mapping[str, NDArray[np.float32]]):
    """The tensors of a file, each read when it is asked for and not kept.

    A whole head in memory beside the engine's own copy would be the peak of a training run. The file is
    opened anew for each tensor, because pages of a mapped file count as memory until it is closed.

    Args:
        path: a safetensors file.
        error_class: what to raise when it can't be read.

    Raises:
        LightclError: of ``error_class``, naming the file.
    """

    def __init__(self, path: Path, error_class: type[LightclError]) -> None:
        self._path, self._error_class = path, error_class
        self._header = check_header(path, error_class)
        self._names = self._read(None)

    def _read(self, name: str | None) -> dict[str, NDArray[np.float32] | None]:
        """One tensor, or all names."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self._path, framework="numpy") as file:
                return {name: file.get_tensor(name)} if name else dict.fromkeys(file.keys())
        except FileNotFoundError as error:
            raise self._error_class(f"{self._path} is missing") from error
        except (SafetensorError, ValueError, KeyError, TypeError, OSError, OverflowError) as error:
            message = f"{self._path} is damaged ({error}); expected a safetensors file"
            raise self._error_class(message) from error

    def kinds(self) -> dict[str, tuple[str, tuple[int, ...]]]:
        """Name -> safetensors' name of the type and shape of each tensor; nothing of the content is read."""
        return {name: (str(tensor["dtype"]), tuple(tensor["shape"])) for name, tensor in self._header.items()}

    def is_finite(self) -> bool:
        """Whether a file of nothing but float32 tensors holds neither NaN nor infinity; read in small pieces."""
        with self._path.open("rb") as file:
            file.seek(8 + int.from_bytes(file.read(8), "little"))
            while piece := file.read(_PIECE_BYTES):
                if not np.isfinite(np.frombuffer(piece, "<f4")).all():
                    return False
        return True

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        if name not in self._names:
            raise KeyError(name)
        tensor = self._read(name)[name]
        return np.zeros(0, np.float32) if tensor is None else tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
