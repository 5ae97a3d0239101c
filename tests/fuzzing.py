"""Feed every reader mutated input, under a memory limit and a time limit; only the documented errors may come out.

As a command it feeds as many inputs as asked, in a process of its own, and writes what it saw:
``python tests/fuzzing.py --inputs 20000 --seed 0 --out profiles/reports/fuzzing.json``
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from PIL import Image

from lightcl_edge.errors import BundleError, DataError, LightclError, StateError

#: Address space beyond what the process has when it starts, and the longest any one input may take.
MEMORY_LIMIT_BYTES, SECONDS_AN_INPUT = 512 * 2**20, 10
_INTERESTING = [0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1]
_WORDS = [b"..", b"/", b"\\", b"\0", b"NaN", b"1e999", b"-1", b"9" * 400, b"[" * 2000, b'"\\ud800"', b"null", b"{}"]


def mutate(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """One to eight changes: bits, bytes, numbers of every width, pieces cut, doubled, moved, or of another input."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        at, kind = rng.randrange(len(changed) + 1), rng.randrange(9)
        length = min(len(changed) - at, rng.choice((1, 2, 4, 8, 16, 64, 512)))
        if kind == 0 and at < len(changed):
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(changed):
            changed[at] = rng.randrange(256)
        elif kind == 2:
            width = rng.choice((1, 2, 4, 8))
            number = rng.choice(_INTERESTING) % 2 ** (8 * width)
            changed[at : at + width] = number.to_bytes(width, rng.choice(("little", "big")))
        elif kind == 3:
            del changed[at : at + length]
        elif kind == 4:
            changed[at:at] = changed[at : at + length]
        elif kind == 5:
            changed[at:at] = rng.choice(_WORDS)
        elif kind == 6:
            del changed[at:]
        elif kind == 7:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            changed[at : at + length] = other[start : start + rng.choice((4, 64, 1024))]
        else:
            changed[at : at + length] = rng.randbytes(length)
        if not changed:
            changed = bytearray(rng.randbytes(3))
    return bytes(changed)


def mutate_json(value: object, rng: random.Random) -> object:
    """One value somewhere in a JSON document becomes another, or is dropped, or repeated."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        changed = dict(value)
        if rng.random() < 0.05:
            del changed[key]
        else:
            changed[key] = mutate_json(value[key], rng)
        return changed
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [*value[:at], mutate_json(value[at], rng), *value[at + rng.choice((0, 1, 1, 1)) :]]
    odd = [None, True, -1, 0, 2**31, 2**63, 10**400, 1.5, -0.0, 1e308, "", "..", "\ud800", "a\0b", "x" * 5000, [], {}]
    return rng.choice([*odd, [2**20] * 9, [[[]]], {"a": 1}])


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


def mutate_tensors(tensors: dict[str, np.ndarray], rng: random.Random) -> dict[str, np.ndarray]:
    """One to three changes of what a safetensors file means: names, types, shapes, lengths, values."""
    changed = {name: np.array(tensor) for name, tensor in tensors.items()}
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if not changed:
            break
        name, kind = rng.choice(sorted(changed)), rng.randrange(9)
        tensor = changed[name]
        if kind == 0:
            del changed[name]
        elif kind == 1:
            changed[rng.choice([name + "x", "slda:mask/relu", "lightcl:logits", "ncm:means", "", ":"])] = tensor
        elif kind == 2:
            with np.errstate(all="ignore"):
                changed[name] = tensor.astype(rng.choice(["<f4", "<f8", "<i8", "<i4", "|u1", "|b1", "<f2"]))
        elif kind == 3:
            first = tensor.reshape(-1)[0] if tensor.size else np.float32(1)
            changed[name] = rng.choice([tensor[None], tensor.reshape(-1), np.array(first), tensor.T])
        elif kind == 4 and tensor.ndim:
            changed[name] = tensor[: rng.randrange(len(tensor) + 1)]
        elif kind == 5 and tensor.ndim:
            changed[name] = np.concatenate([tensor, tensor[:1]])
        elif kind == 6:
            changed[name] = changed[rng.choice(sorted(changed))]
        elif tensor.size:
            flat = np.ascontiguousarray(tensor).reshape(-1).copy()
            odd = [np.nan, np.inf, 1e308, -1e30, -1.0, 0.0] if flat.dtype.kind == "f" else [-1, 0, 2**62, -(2**63), 7]
            at = rng.randrange(len(flat))
            with np.errstate(all="ignore"):
                value = np.array(rng.choice(odd)).astype(flat.dtype)
            flat[at : at + rng.choice((1, 1, len(flat)))] = value
            changed[name] = flat.reshape(tensor.shape)
    return changed


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


def generation_targets(folder: Path, bundle_path: Path) -> dict[str, Target]:
    """The files of a generation; what a reader accepts must then be fit for use."""
    from lightcl_edge.bundle.bundle import TRUNK, Bundle
    from lightcl_edge.data.buffer_filling import fill
    from lightcl_edge.data.feature_buffer import BufferIdentity, FeatureBuffer
    from lightcl_edge.data.held_out_samples import Holdout
    from lightcl_edge.files.durable import calls_through
    from lightcl_edge.learning.forgetting import without_class
    from lightcl_edge.learning.strategies import STRATEGIES
    from lightcl_edge.learning.strategies.contract import Settings
    from lightcl_edge.learning.strategies.slda import read_statistics
    from lightcl_edge.learning.strategies.statistics import ClassStatistics
    from lightcl_edge.learning.strategies.strategy_state import part_of
    from lightcl_edge.state.generation import Generation, Meta
    from lightcl_edge.state.generation_files import TENSOR_FILES, read_generation, write_generation
    from power_cut import Unsynced

    bundle, rng = Bundle.open(bundle_path), np.random.default_rng(0)
    head, shape = bundle.manifest.head, tuple(bundle.manifest.feature.shape)
    identity = BufferIdentity(bundle.sha256(TRUNK), bundle.manifest.feature)
    features, labels = rng.integers(0, 256, (8, *shape)).astype(np.uint8), np.arange(8) % 2
    offered = lambda buffer, kind: fill(  # noqa: E731
        buffer, features.__getitem__, np.arange(8), labels, 6, np.random.default_rng(1), kind
    )
    kept: dict[str, np.ndarray] = {"lightcl:relu": rng.random(head.penultimate_size) > 0.5}
    for part in ("slda", "ncm"):
        statistics = ClassStatistics(head.capacity, head.penultimate_size, full=part == "slda")
        statistics.add(rng.normal(size=(8, head.penultimate_size)).astype(np.float32), labels)
        kept |= {f"{part}:{name}": tensor for name, tensor in statistics.tensors().items()}
    memory = offered(FeatureBuffer.empty(identity), "reservoir").tensors()
    held = {"features": features[:4], "labels": labels[:4]}
    place = folder / "generation"
    write_generation(place, Generation(Meta(1, 0.0, "x", ["a", "b"]), bundle.head_parameters(), kept, held, memory))
    record, good = json.loads((place / "meta.json").read_text()), {n: (place / n).read_bytes() for n in TENSOR_FILES}

    def use(path: Path) -> None:
        for name, data in {**good, path.name: path.read_bytes()}.items():
            (place / name).write_bytes(data)
            record["files"][name] = hashlib.sha256(data).hexdigest()
        (place / "meta.json").write_text(json.dumps(record))
        found = read_generation(place, 1, bundle)
        with calls_through(Unsynced()):
            for row in ("a", "b"):
                write_generation(folder / "without", without_class(found, row, bundle)[0])
        Holdout.from_tensors(found.holdout, shape).extended(features, labels)
        for kind in ("reservoir", "herding"):
            offered(FeatureBuffer.from_tensors(found.buffer, identity), kind)
        for part, kind in {kind.part: kind for kind in STRATEGIES.values()}.items():
            kind(head, Settings(0.1, 0.1, 4)).restore(part_of(found.strategy_state, part))
            read_statistics(part_of(found.strategy_state, part), head)
        assert all(np.isfinite(array).all() for array in found.parameters.values())

    return {f"generation's {name}": TensorTarget(good[name], use, name) for name in TENSOR_FILES}


def _image_seeds() -> list[bytes]:
    pixels = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 20, 3)).astype(np.uint8))
    seeds = []
    for kind, more in (
        ("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("WEBP", {}), ("BMP", {}), ("GIF", {}),
        ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "tiff_deflate"}), ("PPM", {}),
    ):  # fmt: skip
        out = io.BytesIO()
        pixels.save(out, kind, **more)
        seeds.append(out.getvalue())
    return seeds


def targets(folder: Path) -> dict[str, Target]:
    """All readers of what comes from outside, and of what lies on the disk."""
    from lightcl_edge.bundle.bundle import Bundle
    from lightcl_edge.bundle.manifest import parse_manifest
    from lightcl_edge.bundle.signature import parse_signature, sign_manifest
    from lightcl_edge.data.decoding import load_image
    from lightcl_edge.data.feature_store import FeatureStore
    from lightcl_edge.data.specification import open_dataset
    from lightcl_edge.files.external_data import refuse_external_data
    from lightcl_edge.files.tensors import TensorFile, read_tensors
    from lightcl_edge.learning.checkpoint import Checkpoints
    from lightcl_edge.learning.engines.torch_graph import read_graph
    from lightcl_edge.state.generation import Meta
    from lightcl_edge.state.generation_files import read_meta
    from lightcl_edge.state.pointer import read_pointer
    from lightcl_edge.state.trust import read_trust
    from lightcl_edge.state.written_bytes import read_written
    from small_bundle import INPUT, make_bundle

    bundle = make_bundle(folder / "seed")
    packed = make_bundle(folder / "seed.lclb").read_bytes()
    plain = {path: (bundle / path).read_bytes() for path in ("manifest.json", "head.onnx", "trunk.onnx")}
    tensors = [(bundle / name).read_bytes() for name in ("head.safetensors", "golden.safetensors")]
    arrays = io.BytesIO()
    np.savez_compressed(arrays, x=np.zeros((4, 6, 6, 3), np.uint8), y=np.arange(4))
    steps = [path.read_bytes() for path in sorted((bundle / "training_step").iterdir())]

    def everything(path: Path) -> None:
        opened = Bundle.open(path)
        for entry in opened.manifest.files:
            opened.path(entry.path)
        opened.head_parameters()
        opened.golden()

    def all_tensors(path: Path) -> None:
        for read in (lambda: read_tensors(path, BundleError), lambda: dict(TensorFile(path, BundleError))):
            read()

    def graph(path: Path) -> None:
        refuse_external_data(path)
        read_graph(path)

    record = Meta(1, 1.0, "x", ["a", "b"], strategy="lightcl", holdout_accuracy=0.5, sources=["x"], files={"a": "b"})
    meta = asdict(record)
    note = {"key": "k", "file": "checkpoint-1-2.safetensors", "sha256": "x", "trained_seconds": 1.0, "written": 1,
            "position": {"epoch": 1, "step": 2, "loss_sum": 0.5}}  # fmt: skip
    store = {
        "key": "k",
        "count": 2,
        "skipped": ["a"],
        "sha256": {"features.u8": "a", "labels.i64": "b", "marks.u64": "c"},
    }
    written = {"total_bytes": 5, "task_bytes": 1, "last_task_bytes": 4}
    text = lambda value: [json.dumps(value).encode()]  # noqa: E731
    trust = {"key": "k", "release": 1, "identity": "i"}
    found = {
        "archive": Target([packed], everything, (BundleError,), "b.lclb"),
        "safetensors": Target(tensors, all_tensors, (BundleError,), "t.safetensors"),
        "onnx": Target([plain["head.onnx"], plain["trunk.onnx"], *steps[:2]], graph, (BundleError,), "g.onnx"),
        "image": Target(_image_seeds(), lambda p: load_image(p, INPUT), (DataError,), "i.png"),
        "arrays": Target([arrays.getvalue()], lambda p: open_dataset(str(p)), (DataError,), "a.npz"),
        "pointer": Target([b"3 5\n"], lambda p: read_pointer(p.parent), (), "CURRENT"),
    }
    documents = {
        "manifest": ([plain["manifest.json"]], lambda p: parse_manifest(p.read_bytes()), (BundleError,), "m.json"),
        "generation record": (text(meta), lambda p: read_meta(p.parent, 1), (StateError,), "meta.json"),
        "checkpoint": (text(note), lambda p: Checkpoints(p.parent, "k").load(), (), "checkpoint.json"),
        "feature store": (text(store), lambda p: FeatureStore.open(p.parent, (2,), "k"), (), "store.json"),
        "byte count": (text(written), lambda p: read_written(p.parent), (), "written.json"),
        "trust": (text(trust), lambda p: read_trust(p.parent), (StateError,), "trust.json"),
    }
    found |= {name: Target(*parts, document=True) for name, parts in documents.items()}
    found |= generation_targets(folder, bundle)
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        return found
    signature = sign_manifest(b"{}", Ed25519PrivateKey.generate(), 7)
    read = lambda p: parse_signature(p.read_bytes())  # noqa: E731
    return {**found, "signature": Target([signature], read, (BundleError,), "s.sig", document=True)}


def _too_slow(number: int, frame: object) -> None:
    raise TimeoutError(f"one input took more than {SECONDS_AN_INPUT} s")


def _place(error: BaseException) -> str:
    """The innermost line of ours, or of a library, that raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


def fuzz(inputs: int, seed: int, folder: Path) -> dict:
    """Feed so many inputs in all, by turns to each reader.

    Args:
        inputs: how many.
        seed: of the mutations.
        folder: scratch space.

    Returns:
        What each reader answered, and the slowest input.

    Raises:
        AssertionError: with the input's place, when anything but a documented error came out.
    """
    readers, rng = targets(folder), random.Random(seed)
    for name, target in readers.items():
        for good in target.seeds:
            (folder / target.name).write_bytes(good)
            target.read(folder / target.name)
        assert name
    seen: dict[str, Counter[str]] = {name: Counter() for name in readers}
    slowest = dict.fromkeys(readers, 0.0)
    failures: list[str] = []
    signal.signal(signal.SIGALRM, _too_slow)
    for turn in range(inputs):
        name = list(readers)[turn % len(readers)]
        target = readers[name]
        path = folder / target.name
        data = target.mutated(rng)
        path.write_bytes(data)
        started = time.monotonic()
        signal.alarm(SECONDS_AN_INPUT)
        try:
            target.read(path)
            answer = "accepted"
        except target.errors as error:
            answer = type(error).__name__
            assert isinstance(error, LightclError)
        except BaseException as error:
            failures.append(f"input {turn} (seed {seed}) to the reader of {name}: {error!r} at {_place(error)}")
            continue
        finally:
            signal.alarm(0)
        slowest[name] = max(slowest[name], time.monotonic() - started)
        seen[name][answer] += 1
    assert not failures, "\n".join(failures[:20])
    return {
        "inputs": inputs,
        "seed": seed,
        "answers": {name: dict(sorted(answers.items())) for name, answers in seen.items()},
        "slowest_seconds": {name: round(seconds, 3) for name, seconds in slowest.items()},
    }


def zip_of(entries: dict[str, bytes], **more: int) -> bytes:
    """A zip file's bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **more) as packed:
        for name, data in entries.items():
            packed.writestr(name, data)
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "work"
        folder.mkdir()
        targets(folder)  # imports and native libraries first: the limit is for what the inputs do
        shutil.rmtree(folder)
        folder.mkdir()
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = size + MEMORY_LIMIT_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        found = fuzz(args.inputs, args.seed, folder)
    found["memory_limit_bytes"] = MEMORY_LIMIT_BYTES
    found["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    found["seconds"] = round(time.monotonic() - started, 1)
    found["command"] = f"python tests/fuzzing.py --inputs {args.inputs} --seed {args.seed}"
    text = json.dumps(found, indent=1) + "\n"
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
