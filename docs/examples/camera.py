"""A camera that learns: ``python camera.py BUNDLE STATE``.

Enter says what the camera shows. A name and Enter teaches what it shows. Ctrl-D ends.
``--take`` is the program that takes a picture; {} stands for the file it writes:

    Raspberry Pi's own camera   rpicam-still --nopreview --immediate -o {}
    USB camera                  ffmpeg -loglevel error -y -f v4l2 -i /dev/video0 -frames:v 1 {}
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from lightcl_edge import Learner
from lightcl_edge.errors import LightclError


def take(program: str, path: Path) -> Image.Image:
    """Take a picture; it stays in memory only."""
    subprocess.run([word.replace("{}", str(path)) for word in shlex.split(program)], check=True)
    with Image.open(path) as picture:
        picture.load()
    path.unlink()
    return picture


def answer(learner: Learner, name: str, picture: Image.Image) -> str:
    """Teach the picture if it has a name, else say what it shows."""
    if name:
        learned = learner.learn_one(picture, name)
        return f"generation {learned.generation} knows {', '.join(learned.classes)}"
    if not learner.classes:
        return "nothing learned yet: type a name"
    found = learner.predict([picture])[0]
    if found.unknown:
        return f"never seen, most like {found.label}"
    return f"{found.label} ({found.probability:.0%})" + (", unsure" if found.unsure else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("state")
    parser.add_argument("--take", default="rpicam-still --nopreview --immediate -o {}")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder, Learner.open(args.bundle, args.state) as learner:
        for line in sys.stdin:
            try:
                print(answer(learner, line.strip(), take(args.take, Path(folder) / "now.jpg")), flush=True)
            except LightclError as error:
                print(error, flush=True)


if __name__ == "__main__":
    main()
