"""What every machine gets: the wheel of this checkout, bundles of a real network, pictures of real digits."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from arm64.layers import digest

#: The embedded network with its ImageNet weights, small enough to train under emulation.
EXPORT = ("--model", "efficientnet_lite0", "--image-size", "64", "--calibration", "digits", "--max-classes", "16")
TRUNKS = ("int8", "fp32")
CLASSES, TRAINING, TEST = 4, 24, 8
_SIDE = 72


def build_wheel(root: Path, cache: Path) -> Path:
    """The product's wheel, by the script that the Dockerfile calls.

    Args:
        root: of the checkout.
        cache: keeps it.

    Returns:
        Its path.
    """
    out = cache / "wheel"
    if out.exists():
        shutil.rmtree(out)
    script = ["sh", str(root / "edge" / "docker" / "wheel.sh"), str(root), str(out)]
    subprocess.run(["env", f"PYTHON={sys.executable}", *script], check=True, stdout=subprocess.DEVNULL)
    return next(out.glob("*.whl"))


def content_of(wheel: Path) -> str:
    """Identifies what is in a wheel; its own hash changes with every build."""
    with zipfile.ZipFile(wheel) as packed:
        return digest(f"{entry.filename} {entry.CRC}" for entry in sorted(packed.infolist(), key=lambda e: e.filename))


def make_inputs(cache: Path, content: str, say: Callable[[str], None]) -> Path:
    """Bundles and pictures; the folder is the read-only volume of the container.

    Args:
        cache: keeps them.
        content: what identifies the wheel, whose host part exports the bundles.
        say: tells the person who waits.

    Returns:
        The folder with ``bundle-int8``, ``bundle-fp32``, ``train``, ``test``, and ``one``: one image of a new class.
    """
    folder, stamp = cache / "inputs", cache / "inputs.key"
    key = digest([content, *EXPORT, Path(__file__)])
    if stamp.is_file() and stamp.read_text() == key:
        return folder
    stamp.unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for dtype in TRUNKS:
        say(f"exporting the bundle with a trunk in {dtype}")
        program = Path(sys.executable).with_name("lightcl-host")
        out = ["--trunk-dtype", dtype, "--out", str(folder / f"bundle-{dtype}")]
        subprocess.run([str(program), "export", *EXPORT, *out, "--quiet"], check=True, stdout=subprocess.DEVNULL)
    make_pictures(folder)
    for name in ("probe.py", "often.py"):
        shutil.copy2(Path(__file__).with_name(name), folder)
    stamp.write_text(key)
    return folder


def make_pictures(folder: Path) -> None:
    """Real digits as JPEG files larger than the network's input, so that decoding and resizing are compared too."""
    from lightcl_models.datasets import digits

    dataset = digits()
    for row in range(CLASSES + 1):
        chosen = np.flatnonzero(dataset.labels == row)[: TRAINING + TEST if row < CLASSES else 1]
        for place, index in enumerate(chosen.tolist()):
            part = "one" if row == CLASSES else "train" if place < TRAINING else "test"
            path = folder / part / f"digit{row}" / f"{place}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(dataset.image(index)).resize((_SIDE, _SIDE), Image.Resampling.BICUBIC)
            picture.save(path, quality=90)
