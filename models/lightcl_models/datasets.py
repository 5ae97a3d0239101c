"""Named data sets: the digits of scikit-learn, and the benchmarks CIFAR-10 and TinyImageNet.

The device's package finds each function by name, through the entry-point group ``lightcl_edge.datasets``. So it needs
nothing of what they import.
"""

import gzip
import importlib.util
from pathlib import Path

import numpy as np

from lightcl_edge.data.dataset import ArrayDataset, Dataset, FolderDataset
from lightcl_edge.errors import DataError

#: Every fifth digit is kept for testing.
_TEST_EVERY = 5


def digits(split: str = "train", folder: Path | None = None) -> Dataset:
    """The 1,797 real handwritten digits of scikit-learn (Alpaydin and Kaynak, 1998): 8 x 8 grey pixels, ten classes.

    Every fifth is in the split ``test``, the others are in ``train``. ``folder`` must be None. Raises DataError when
    scikit-learn is missing or a folder was named.
    """
    if folder is not None:
        raise DataError(f"digits:{folder}: digits are embedded and take no path; expected digits or digits:test")
    # Only scikit-learn's file is read: importing scikit-learn would take 100 MB of a device's RAM.
    found = importlib.util.find_spec("sklearn")
    places = list(found.submodule_search_locations or []) if found else []
    files = [path for place in places if (path := Path(place) / "datasets" / "data" / "digits.csv.gz").is_file()]
    if not files:
        raise DataError("digits come with scikit-learn; pip install 'lightcl-edge[demo]', or use a folder")
    with gzip.open(files[0], "rt") as file:
        rows = np.array([line.split(",") for line in file], np.float32)
    pixels, labels = rows[:, :-1], rows[:, -1]
    images = np.rint(pixels.reshape(-1, 8, 8) * (255.0 / 16.0)).astype(np.uint8)
    test = np.arange(len(labels)) % _TEST_EVERY == 0
    chosen = test if split == "test" else ~test
    return ArrayDataset(images[chosen], labels[chosen].astype(np.int64), f"digits:{split}")


def _folders(name: str, split: str, folder: Path, names: dict[str, str]) -> Dataset:
    """Class folders under ``folder/<split>``; ``names`` maps ``train`` and ``test`` to the data set's words."""
    inside = folder / names[split]
    if not inside.is_dir():
        raise DataError(f"{name}:{folder}: found no folder {inside}, expected one sub-folder a class in it")
    return FolderDataset(inside)


def cifar10(split: str = "train", folder: Path | None = None) -> Dataset:
    """CIFAR-10 (Krizhevsky 2009): 32 x 32 colour pixels, ten classes.

    It is read from ``FOLDER/{train,test}/CLASS/*``, or downloaded by torchvision into the user's cache where no folder
    is named. Raises DataError when neither works.
    """
    if folder is not None:
        return _folders("cifar10", split, folder, {"train": "train", "test": "test"})
    try:
        from lightcl_models.torchvision_import import import_torchvision

        datasets = import_torchvision().datasets
        cache = Path.home() / ".cache" / "lightcl-edge"
        data = datasets.CIFAR10(str(cache), train=split == "train", download=True)
    except (ImportError, OSError, RuntimeError) as error:
        raise DataError(f"cifar10 can't be downloaded ({error}); give its folder: cifar10:PATH") from error
    names = np.asarray(data.classes)
    return ArrayDataset(np.asarray(data.data, np.uint8), names[np.asarray(data.targets)], f"cifar10:{split}")


def tinyimagenet(split: str = "train", folder: Path | None = None) -> Dataset:
    """TinyImageNet from ``FOLDER/{train,val}/WNID/*.JPEG``: 64 x 64 colour pixels, up to 200 classes.

    The split ``test`` is its folder ``val``. Raises DataError when no folder is named or it does not hold the images.
    """
    if folder is None:
        raise DataError("tinyimagenet is not downloaded; give its folder: tinyimagenet:PATH, with train and val in it")
    return _folders("tinyimagenet", split, folder, {"train": "train", "test": "val"})
