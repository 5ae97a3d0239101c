"""What a machine makes of pictures: their pixels, and each bundle's features. Run by the product's own Python there.

``python probe.py OUT.npz PICTURES BUNDLE...``: arrays ``pixels.NAME`` and ``features.NAME`` for every bundle's name.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.data.dataset import FolderDataset
from lightcl_edge.inference.trunk import Trunk

#: As the device extracts; the same on every machine, whatever memory it has.
BATCH = 8


def main(out: Path, pictures: Path, bundles: list[Path]) -> None:
    """Write the arrays."""
    dataset = FolderDataset(pictures)
    arrays: dict[str, np.ndarray] = {}
    for path in bundles:
        bundle = Bundle.open(path)
        trunk, info = Trunk(bundle, 1), bundle.manifest.input
        pixels = np.stack([dataset.load(index, info) for index in range(len(dataset))])
        parts = [trunk.features_of_pixels(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)]
        arrays |= {f"pixels.{path.name}": pixels, f"features.{path.name}": np.concatenate(parts)}
    np.savez(out, **arrays)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
