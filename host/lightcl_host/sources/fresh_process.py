"""Open a network in another process: the libraries that export it keep 300 MB until their process ends."""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from subprocess import DEVNULL, PIPE, Popen

import onnx

from lightcl_edge.bundle.manifest import InputInfo
from lightcl_host.sources.options import SourceOptions
from lightcl_host.sources.source import Source, open_source


def open_in_fresh_process(options: SourceOptions) -> Source:
    """``open_source`` without ``module``. What fails there, and an ``.onnx`` file, is opened here."""
    if options.model.endswith(".onnx"):
        return open_source(options)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "graph.onnx")
        command = [sys.executable, "-m", __name__, json.dumps(asdict(options)), str(file)]
        with Popen(command, stdout=PIPE, stderr=DEVNULL) as process:
            import torch  # noqa: F401 - meanwhile

            said, _ = process.communicate()
        if process.returncode:
            return open_source(options)
        name, weights, random, info = json.loads(said)
        return Source(
            name,
            weights,
            onnx.load(file),
            InputInfo(**info),
            random,
            lambda images: open_source(options).reference(images),
            lambda: open_source(options).with_batch_norm(),
        )


if __name__ == "__main__":
    made = open_source(SourceOptions(**json.loads(sys.argv[1])))
    onnx.save(made.graph, sys.argv[2])
    print(json.dumps([made.name, made.weights, made.random_weights, asdict(made.input_info)]))
