"""Images at a network's input size, each decoded once and then kept in a file, not in memory."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_edge.data.dataset import Dataset
from lightcl_edge.inference.trunk import normalise

if TYPE_CHECKING:
    import torch


class PixelFile:
    """Reads images by their position, prepared as the network's input. The file is deleted with the object."""

    def __init__(self, dataset: Dataset, info: InputInfo, folder: Path) -> None:
        self._dataset, self._info = dataset, info
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  # closed by close()
        self._shape = (info.height, info.width, 3)
        self._bytes = info.height * info.width * 3
        self._known = np.zeros(len(dataset), np.bool_)

    def __call__(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """Normalised images at ``rows``, shape ``(k, 3, height, width)``."""
        import torch

        return torch.from_numpy(normalise(np.stack([self._image(row) for row in rows.tolist()]), self._info))

    def _image(self, row: int) -> NDArray[np.uint8]:
        place = row * self._bytes
        if self._known[row]:
            read = os.pread(self._file.fileno(), self._bytes, place)
            return np.frombuffer(read, np.uint8).reshape(self._shape)
        image = np.ascontiguousarray(self._dataset.load(row, self._info))
        os.pwrite(self._file.fileno(), image.tobytes(), place)
        self._known[row] = True
        return image

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
