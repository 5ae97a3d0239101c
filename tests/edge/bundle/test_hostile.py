"""Each known way to do harm with a bundle or an image is refused by name; and readers meet thousands of mutations."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from lightcl_edge import errors
from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.writing import write_bundle
from lightcl_edge.data.decoding import open_image
from lightcl_edge.files.tensors import read_tensors, write_tensors
from lightcl_edge.inference.golden import check_golden
from small_bundle import make_bundle

ROOT = Path(__file__).parents[3]


def zip_of(entries: dict[str, bytes], **more: int) -> bytes:
    """A zip file's bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **more) as packed:
        for name, data in entries.items():
            packed.writestr(name, data)
    return out.getvalue()


def contents(bundle):
    return {path.relative_to(bundle).as_posix(): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}


def repack(bundle, **files):
    """The bundle with some files replaced, hashes and all: what somebody could make who wants to."""
    kept = {name: data for name, data in contents(bundle).items() if name != "manifest.json"}
    write_bundle(bundle, Bundle.open(bundle).manifest, {**kept, **files})
    return bundle


def use(path):
    opened = Bundle.open(path)
    for entry in opened.manifest.files:
        opened.path(entry.path)
    opened.head_parameters()
    check_golden(opened, 1)


def refused(path, kind, says):
    with pytest.raises(kind) as raised:
        use(path)
    assert says in str(raised.value) and type(raised.value) is kind


def test_a_zip_bomb(bundle, tmp_path):
    (tmp_path / "b.lclb").write_bytes(zip_of({"trunk.onnx": bytes(50_000_000)}, compression=8))
    assert (tmp_path / "b.lclb").stat().st_size < 100_000
    refused(tmp_path / "b.lclb", errors.ZipBombError, "compressed")
    data = bytearray(zip_of({"trunk.onnx": b"x" * 100}))
    at = data.index(b"PK\1\2")
    data[at + 20 : at + 28] = struct.pack("<II", 10**9, 10**9)  # the same bytes again and again would have to be read
    (tmp_path / "c.lclb").write_bytes(data)
    refused(tmp_path / "c.lclb", errors.ZipBombError, "more content than its own size")


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/cron.d/x", "a/../../x", "a\\b", ".hidden", "a/b/c", "a\nb", "x" * 300]
)
def test_a_path_that_leaves_the_folder(bundle, tmp_path, name):
    (tmp_path / "b.lclb").write_bytes(zip_of({name: b"x"}))
    refused(tmp_path / "b.lclb", errors.UnsafePathError, "plain")
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"].append({"path": name, "bytes": 1, "sha256": ""})
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    refused(bundle, errors.UnsafePathError, "plain")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize("name", ["trunk.onnx", "manifest.json", "training_step", "manifest.sig"])
def test_a_symbolic_link(bundle, tmp_path, name):
    if (bundle / name).exists():
        (bundle / name).rename(tmp_path / "elsewhere")
    (bundle / name).symlink_to(tmp_path / "elsewhere")
    refused(bundle, errors.LinkError, "link")


def test_a_link_in_an_archive(tmp_path):
    link = zipfile.ZipInfo("trunk.onnx")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "b.lclb", "w") as packed:
        packed.writestr(link, "/etc/passwd")
    refused(tmp_path / "b.lclb", errors.LinkError, "not a plain file")


def test_huge_headers(bundle, tmp_path):
    repack(bundle, **{"head.safetensors": (2**40).to_bytes(8, "little") + b"{}"})
    refused(bundle, errors.HugeHeaderError, "header of 1099511627776 bytes")
    (bundle / "manifest.json").write_bytes(b" " * 5_000_000)
    refused(bundle, errors.HugeHeaderError, "manifest.json")
    (tmp_path / "b.lclb").write_bytes(zip_of({f"f{number}": b"" for number in range(1000)}))
    refused(tmp_path / "b.lclb", errors.HugeHeaderError, "lists 1000 entries")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_stand_twice(bundle, tmp_path):
    with zipfile.ZipFile(tmp_path / "b.lclb", "w") as packed:
        packed.writestr("trunk.onnx", "1")
        packed.writestr("trunk.onnx", "2")
    refused(tmp_path / "b.lclb", errors.DuplicateNameError, "twice")
    one = '"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}'
    header = ("{" + one + "," + one + "}").encode()
    repack(bundle, **{"golden.safetensors": len(header).to_bytes(8, "little") + header + b"x"})
    with pytest.raises(errors.DuplicateNameError, match="'a' twice"):
        Bundle.open(bundle).golden()
    (bundle / "manifest.json").write_text('{"format": "a", "format": "lightcl-bundle"}')
    refused(bundle, errors.DuplicateNameError, "'format' twice")


def test_external_data(bundle):
    tensor = TensorProto(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    model = helper.make_model(helper.make_graph([], "g", [], [], [tensor]))
    repack(bundle, **{"head.onnx": model.SerializeToString()})
    refused(bundle, errors.ExternalDataError, "external data")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers(bundle, tmp_path, value):
    tensors = read_tensors(bundle / "head.safetensors", ValueError)
    tensors["block.weight"][1, 2, 0, 1] = value
    write_tensors(tmp_path / "t", tensors)
    repack(bundle, **{"head.safetensors": (tmp_path / "t").read_bytes()})
    refused(bundle, errors.NotFiniteError, "block.weight holds NaN or infinity")


@pytest.mark.parametrize("part", ["trunk.onnx", "head.onnx", "head.safetensors"])
def test_parts_of_another_bundle(bundle, tmp_path, part):
    other = make_bundle(tmp_path / "other", seed=1)
    repack(bundle, **{part: (other / part).read_bytes()})
    refused(bundle, errors.MixedBundleError, "one bundle")


@pytest.mark.parametrize(
    ("taps", "kind", "says"),
    [
        (lambda taps: taps[::-1], errors.MixedBundleError, "the taps of the golden images differ from the host's"),
        (lambda taps: taps[:, 1:], errors.BundleError, "expected 48 numbers an image as manifest.json says"),
        (lambda _: None, errors.BundleError, "golden.safetensors lacks ['taps']"),
    ],
)
def test_other_taps_than_the_host_computed(bundle, tmp_path, taps, kind, says):
    golden = read_tensors(bundle / "golden.safetensors", ValueError)
    changed = {**golden, "taps": taps(golden["taps"])}
    write_tensors(tmp_path / "t", {name: value for name, value in changed.items() if value is not None})
    repack(bundle, **{"golden.safetensors": (tmp_path / "t").read_bytes()})
    refused(bundle, kind, says)


def chunk(kind, data):
    body = kind + data
    return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")


def test_an_image_that_unpacks_to_gigabytes(tmp_path):
    for side, says in ((7000, "pixels in"), (30_000, "too many pixels")):
        head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        rows = zlib.compress(bytes(1000 * 1000), 9)
        data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
        (tmp_path / "bomb.png").write_bytes(data)
        with pytest.raises(errors.ImageBombError, match=says):
            open_image(tmp_path / "bomb.png")


def test_an_image_that_would_start_a_program(tmp_path):
    """Pillow hands EPS files to Ghostscript; a .png that is one must not get that far."""
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    with pytest.raises(Exception, match="can't be read as an image"):
        open_image(tmp_path / "a.png")


def fuzz(inputs, seed, tmp_path):
    out = tmp_path / "seen.json"
    command = [sys.executable, ROOT / "tests" / "fuzzing.py", "--inputs", inputs, "--seed", seed, "--out", out]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(out.read_text())


def test_some_mutated_inputs(tmp_path):
    seen = fuzz(1700, 1, tmp_path)
    each = 1700 // len(seen["answers"])
    assert each >= 80 and all(sum(answers.values()) == each for answers in seen["answers"].values())


@pytest.mark.slow
def test_twenty_thousand_mutated_inputs(tmp_path):
    assert fuzz(20_000, 2, tmp_path)["peak_rss_bytes"] < 400 * 2**20
