"""A reader that is fed mutated input, and the errors it may answer with."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from pathlib import Path

from lightcl_edge.errors import StateError
from mutations import mutate, mutate_json, mutate_tensors


class Target:
    """A reader, seeds that it accepts, and the errors it may answer with.

    Args:
        seeds: good inputs.
        read: given a path, reads it.
        errors: the documented ones.
        name: of the file.
        document: whether inputs are JSON documents too.
    """

    def __init__(
        self, seeds: list[bytes], read: Callable[[Path], object], errors: tuple, name: str, *, document: bool = False
    ) -> None:
        self.seeds, self.read, self.errors, self.name, self.document = seeds, read, errors, name, document

    def mutated(self, rng: random.Random) -> bytes:
        seed = rng.choice(self.seeds)
        if self.document and rng.random() < 0.6:
            value = json.loads(seed)
            for _ in range(rng.choice((1, 1, 2, 4))):
                value = mutate_json(value, rng)
            return json.dumps(value).encode()
        return mutate(seed, self.seeds, rng)


class TensorTarget(Target):
    """As :class:`Target`, for a safetensors file whose tensors are changed and whose hash is made right again."""

    def __init__(self, seed: bytes, read: Callable[[Path], object], name: str) -> None:
        super().__init__([seed], read, (StateError,), name)

    def mutated(self, rng: random.Random) -> bytes:
        from safetensors.numpy import load

        from lightcl_edge.files.tensors import write_tensors

        with tempfile.TemporaryDirectory() as scratch:
            write_tensors(Path(scratch) / "t", mutate_tensors(load(self.seeds[0]), rng))
            return (Path(scratch) / "t").read_bytes()
