"""Readers of what comes from outside as targets of the fuzzer: bundles, images, arrays."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from fuzzed_reader import Target
from lightcl_edge.errors import BundleError, DataError


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


def outside_targets(bundle: Path, archive: bytes) -> dict[str, Target]:
    """Each with the parts of a tiny bundle, or with pictures, as good input."""
    from lightcl_edge.bundle.manifest import parse_manifest
    from lightcl_edge.data.decoding import load_image
    from lightcl_edge.data.specification import open_dataset
    from small_bundle import INPUT

    plain = {path: (bundle / path).read_bytes() for path in ("manifest.json", "head.onnx", "trunk.onnx")}
    tensors = [(bundle / name).read_bytes() for name in ("head.safetensors", "golden.safetensors")]
    arrays = io.BytesIO()
    np.savez_compressed(arrays, x=np.zeros((4, 6, 6, 3), np.uint8), y=np.arange(4))
    steps = [path.read_bytes() for path in sorted((bundle / "training_step").iterdir())]
    everything, all_tensors, graph = _bundle_readers()
    manifest = lambda p: parse_manifest(p.read_bytes())  # noqa: E731
    found = {
        "archive": Target([archive], everything, (BundleError,), "b.lclb"),
        "safetensors": Target(tensors, all_tensors, (BundleError,), "t.safetensors"),
        "onnx": Target([plain["head.onnx"], plain["trunk.onnx"], *steps[:2]], graph, (BundleError,), "g.onnx"),
        "image": Target(_image_seeds(), lambda p: load_image(p, INPUT), (DataError,), "i.png"),
        "arrays": Target([arrays.getvalue()], lambda p: open_dataset(str(p)), (DataError,), "a.npz"),
        "manifest": Target([plain["manifest.json"]], manifest, (BundleError,), "m.json", document=True),
    }
    return found | _signature_target()


def _bundle_readers() -> tuple[Callable[[Path], None], ...]:
    from lightcl_edge.bundle.bundle import Bundle
    from lightcl_edge.files.external_data import refuse_external_data
    from lightcl_edge.files.tensors import TensorFile, read_tensors
    from lightcl_edge.learning.engines.torch_graph import read_graph

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
        refuse_external_data([path])
        read_graph(path)

    return everything, all_tensors, graph


def _signature_target() -> dict[str, Target]:
    from lightcl_edge.bundle.signature import parse_signature, sign_manifest

    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        return {}
    signature = sign_manifest(b"{}", Ed25519PrivateKey.generate(), 7)
    read = lambda p: parse_signature(p.read_bytes())  # noqa: E731
    return {"signature": Target([signature], read, (BundleError,), "s.sig", document=True)}
