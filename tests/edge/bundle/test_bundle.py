"""Bundles: what is accepted, and that everything else is refused with its own message."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.manifest import Manifest, parse_manifest
from lightcl_edge.bundle.writing import write_bundle
from lightcl_edge.errors import BundleError
from lightcl_edge.files.external_data import refuse_external_data
from lightcl_edge.files.plain import sha256_of
from lightcl_edge.machine import process_memory
from small_bundle import make_bundle


def edit(bundle, change):
    """Change the manifest's JSON by a function."""
    path = bundle / "manifest.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


def refused(path, says):
    with pytest.raises(BundleError) as raised:
        opened = Bundle.open(path)
        for entry in opened.manifest.files:
            opened.path(entry.path)
        opened.head_parameters()
    assert says in str(raised.value)


def test_folder_and_archive_are_the_same_bundle(tmp_path):
    folder, archive = make_bundle(tmp_path / "b"), make_bundle(tmp_path / "b.lclb")
    one, two = Bundle.open(folder), Bundle.open(archive)
    assert one.identity == two.identity
    assert {k: v.tobytes() for k, v in one.head_parameters().items()} == {
        k: v.tobytes() for k, v in two.head_parameters().items()
    }
    assert archive.read_bytes() == make_bundle(tmp_path / "again.lclb").read_bytes()


def test_a_file_is_checked_once_and_again_when_it_changed(bundle, monkeypatch):
    opened, hashed = Bundle.open(bundle), []
    monkeypatch.setattr(
        "lightcl_edge.bundle.bundle.hashes_of", lambda paths: [hashed.append(path) or sha256_of(path) for path in paths]
    )
    path = opened.path("trunk.onnx")
    assert opened.path("trunk.onnx") == path and hashed == [path]
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"trunk\.onnx is damaged"):
        opened.path("trunk.onnx")
    path.unlink()
    with pytest.raises(BundleError, match=r"trunk\.onnx is missing"):
        opened.path("trunk.onnx")


def test_manifest_reads_back_equal(bundle):
    manifest = Bundle.open(bundle).manifest
    assert parse_manifest(manifest.to_json()) == manifest


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda m: m.update(format="other"), "expected 'lightcl-bundle'"),
        (lambda m: m.update(format_version=[1, 1]), "[1, 1], expected 2.x; export it again"),
        (lambda m: m.update(format_version=[3, 0]), "[3, 0], expected 2.x; install a matching lightcl-edge"),
        (lambda m: m["head"].pop("taps"), "head lacks 'taps'"),
        (lambda m: m["head"].update(taps=[]), "head.taps is [], expected one or more"),
        (lambda m: m["head"]["taps"][0].update(size=0), "head.taps[0].size is 0, expected a number from 1"),
        (lambda m: m.pop("head"), "lacks 'head'"),
        (
            lambda m: m["feature"].update(channel_axis=2, shape=[4]),
            "feature.channel_axis is 2, expected an axis of [4]",
        ),
        (lambda m: m["feature"].update(scale=[0.0]), "feature.scale[0] is 0.0, expected a number above 0"),
        (lambda m: m["feature"].update(scale=[1.0, 2.0]), "1 or 16 numbers"),
        (lambda m: m["feature"].update(shape=[16, -4]), "positive sides"),
        (lambda m: m["feature"].update(shape="8"), "a list"),
        (lambda m: m["head"].update(capacity=10**9), "head.capacity"),
        (lambda m: m["head"].update(capacity=7), "classifier.weight"),
        (lambda m: m.update(classes=["a", "a"]), "different names"),
        (lambda m: m["input"].update(std=[1, 1, 0]), "input.std[2] is 0, expected a number above 0"),
        (lambda m: m["input"].update(height=True), "type int"),
        (lambda m: m["files"].append({"path": "../x", "bytes": 1, "sha256": ""}), "plain relative name"),
        (lambda m: m["files"].append({"path": "/etc/passwd", "bytes": 1, "sha256": ""}), "plain relative name"),
        (lambda m: m["files"].append(dict(m["files"][0])), "twice"),
        (lambda m: m["files"].append({"path": "more.bin", "bytes": 1, "sha256": ""}), "more.bin is missing"),
        (lambda m: m["files"].pop(0), "does not list"),
        (lambda m: m["files"][0].update(bytes=5), "expected 5"),
        (lambda m: m["files"][0].update(sha256="0" * 64), "is damaged"),
    ],
)
def test_wrong_manifests(bundle, change, says):
    edit(bundle, change)
    refused(bundle, says)


def test_bundles_without_a_channel_axis_have_channels_first(bundle):
    edit(bundle, lambda m: m["feature"].pop("channel_axis"))
    assert Bundle.open(bundle).manifest.feature.channel_axis == 0


@pytest.mark.parametrize("text", ["", "[]", "{", '{"format": NaN}', '{"a": 1, "a": 2}', "[" * 100_000, "\xff"])
def test_what_is_no_manifest(bundle, text):
    (bundle / "manifest.json").write_bytes(text.encode("latin-1"))
    refused(bundle, "manifest.json")


def test_an_unlisted_file_and_a_link(bundle):
    (bundle / "extra.onnx").write_text("x")
    refused(bundle, "extra.onnx")
    (bundle / "extra.onnx").unlink()
    (bundle / "trunk.onnx").rename(bundle.parent / "elsewhere.onnx")
    (bundle / "trunk.onnx").symlink_to(bundle.parent / "elsewhere.onnx")
    refused(bundle, "a link")


def _pack(path, entries, **more):
    with zipfile.ZipFile(path, "w", more.get("compression", zipfile.ZIP_STORED)) as packed:
        for name, data in entries:
            packed.writestr(name, data)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_archives(tmp_path):
    refused(_pack(tmp_path / "a.lclb", [("../../evil", b"x")]), "plain relative name")
    refused(_pack(tmp_path / "b.lclb", [("x", b"1"), ("x", b"2")]), "names one twice")
    refused(_pack(tmp_path / "c.lclb", [("x", b"0" * 10**6)], compression=zipfile.ZIP_DEFLATED), "compressed")
    (tmp_path / "d.lclb").write_bytes(b"PK not a zip")
    refused(tmp_path / "d.lclb", "is not a bundle")
    link = zipfile.ZipInfo("trunk.onnx")
    link.external_attr = 0o120777 << 16
    refused(_pack(tmp_path / "e.lclb", [(link, b"/etc/passwd")]), "not a plain file")
    refused(tmp_path / "none", "no bundle at")


def rebuild(bundle, **files):
    """The bundle with some files replaced, hashes and all."""
    opened = Bundle.open(bundle)
    content = {e.path: (bundle / e.path).read_bytes() for e in opened.manifest.files}
    write_bundle(bundle, opened.manifest, {**content, **files})


def test_looking_for_external_data_maps_little(tmp_path):
    """Of 48 MiB of weights; the kernel maps 64 KiB or more around everything that is read."""
    tensors = [numpy_helper.from_array(np.zeros(2**14, np.float32), f"w{row}") for row in range(768)]
    # A model that mentions the key is looked through.
    graph = helper.make_graph([], "g", [], [], initializer=tensors, doc_string="location")
    path = tmp_path / "large.onnx"
    path.write_bytes(helper.make_model(graph).SerializeToString())
    del tensors, graph
    if not process_memory.reset_peak():
        pytest.skip("the kernel keeps one peak for the whole process")
    before = process_memory.sample(with_pss=False).rss_bytes or 0
    refuse_external_data([path])
    assert process_memory.peak_rss_bytes() - before < 12 * 2**20


def test_external_data_is_refused(bundle):
    tensor = TensorProto(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    graph = helper.make_graph([], "g", [], [], [tensor])
    inside = helper.make_node("Constant", [], ["c"], value=tensor)
    nested = helper.make_graph([inside], "g", [], [])
    for each in (graph, nested):
        rebuild(bundle, **{"trunk.onnx": helper.make_model(each).SerializeToString()})
        refused(bundle, "external data")


@pytest.mark.parametrize("before", [0, 2**20 - 5, 2**20, 2**21 - 60])
def test_external_data_is_found_wherever_it_lies(tmp_path, before):
    tensor = TensorProto(name="w", data_type=1, dims=[4], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="x")
    path = tmp_path / "m.onnx"
    graph = helper.make_graph([], "g", [], [], [numpy_helper.from_array(np.zeros(before, np.int8), "a"), tensor])
    path.write_bytes(helper.make_model(graph).SerializeToString())
    with pytest.raises(BundleError, match="external data"):
        refuse_external_data([path])


def test_what_is_no_onnx(edge, bundle):
    rebuild(bundle, **{"trunk.onnx": b"\x3a\xff\xff\xff\x7f"})
    assert "trunk.onnx is not accepted by onnxruntime" in edge("verify", bundle, code=3)[1]
    rebuild(bundle, **{"trunk.onnx": b"\x3a\xff\xff\xff\x7flocation"})
    refused(bundle, "not a readable ONNX")


def test_tensors_that_do_not_fit(bundle, tmp_path):
    import numpy as np

    from lightcl_edge.files.tensors import write_tensors

    good = Bundle.open(bundle).head_parameters()
    cases = {
        "are only in the file": {**good, "more": np.zeros(1, np.float32)},
        "expected float32 (6,)": {**good, "classifier.bias": np.zeros(5, np.float32)},
        "float64": {**good, "classifier.bias": np.zeros(6)},
        "NaN or infinity": {**good, "classifier.bias": np.full(6, np.nan, np.float32)},
    }
    for says, tensors in cases.items():
        write_tensors(tmp_path / "t", tensors)
        rebuild(bundle, **{"head.safetensors": (tmp_path / "t").read_bytes()})
        refused(bundle, says)
    rebuild(bundle, **{"head.safetensors": b"\x02" + bytes(7) + b"{]"})
    refused(bundle, "is damaged")


def test_a_trunk_that_drifts_is_refused(edge, bundle):
    model = onnx.load(bundle / "trunk.onnx")
    bias = next(i for i in model.graph.initializer if i.name == "stem.bias")
    values = numpy_helper.to_array(bias) + 0.5
    bias.CopyFrom(numpy_helper.from_array(values.astype("float32"), "stem.bias"))
    rebuild(bundle, **{"trunk.onnx": model.SerializeToString()})
    assert "golden images differ" in edge("verify", bundle, code=3)[1]


def test_writing_never_replaces_what_is_no_bundle(bundle, tmp_path):
    manifest = Bundle.open(bundle).manifest
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.tex").write_text("x")
    with pytest.raises(BundleError, match="exists and is not a bundle"):
        write_bundle(tmp_path / "precious", manifest, {})
    assert (tmp_path / "precious" / "thesis.tex").exists()


def test_a_newer_minor_version_may_say_more(bundle):
    edit(bundle, lambda m: m.update(format_version=[2, 7], later="x"))
    assert isinstance(Bundle.open(bundle).manifest, Manifest)


def test_the_format_document_names_every_key():
    from dataclasses import fields
    from pathlib import Path

    text = (Path(__file__).parents[3] / "docs" / "reference" / "bundle.md").read_text()
    assert all(f"`{entry.name}`" in text for entry in fields(Manifest))


def test_replacing_a_bundle_keeps_it_whole(bundle):
    manifest = replace(Bundle.open(bundle).manifest, classes=["a"])
    content = {e.path: (bundle / e.path).read_bytes() for e in manifest.files}
    write_bundle(bundle, manifest, content)
    assert Bundle.open(bundle).manifest.classes == ["a"]
    assert [p.name for p in bundle.parent.iterdir() if p.name.startswith(".")] == []
