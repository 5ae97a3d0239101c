"""What files say of their input and classes is read; what they do not say is assumed aloud."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from test_any_exporter import KERNEL, POOLED, saved

from lightcl_edge.errors import DataError
from lightcl_host.export.class_names import OWN, kept_classes
from lightcl_host.sources.first_layer import expects_bytes
from lightcl_host.sources.options import SourceOptions
from lightcl_host.sources.source import Source, open_source
from lightcl_host.sources.stated_input import stated_input
from lightcl_models.loaded_model import rgb_input

NODES = [*POOLED, helper.make_node("MatMul", ["f", "dense"], ["y"])]
LABELS = ["cat", "dog", "cow", "hen", "elk"]


def source_with(folder: Path, metadata: dict[str, str], **options: object) -> Source:
    path = Path(saved(folder / "m.onnx", NODES, {}))
    model = onnx.load(path)
    helper.set_model_props(model, metadata)
    onnx.save(model, path)
    return open_source(SourceOptions(str(path), **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        # Ultralytics, timm's configuration, OpenVINO's model API, the ONNX format's image metadata
        ({"names": "{0: 'cat', 1: 'dog', 2: 'cow', 3: 'hen', 4: 'elk'}"}, {"classes": tuple(LABELS)}),
        (
            {"pretrained_cfg": json.dumps({"mean": [0.5] * 3, "std": [0.25] * 3, "crop_pct": 0.9,
                                           "interpolation": "bicubic"})},
            {"mean": [0.5] * 3, "std": [0.25] * 3, "crop_ratio": 0.9, "interpolation": "bicubic"},
        ),
        (
            {"model_info mean_values": "127.5 127.5 127.5", "model_info scale_values": "51 51 51",
             "model_info labels": "cat dog cow hen elk", "model_info reverse_input_channels": "True"},
            {"mean": [0.5] * 3, "std": [0.2] * 3, "classes": tuple(LABELS), "channel_order": "BGR"},
        ),
        (
            {"Image.BitmapPixelFormat": "Bgr8", "Image.NominalPixelRange": "NominalRange_0_255"},
            {"channel_order": "BGR", "mean": [0.0] * 3, "std": [1 / 255] * 3},
        ),
    ],
)  # fmt: skip
def test_metadata_of_many_tools(tmp_path: Path, metadata: dict[str, str], expected: dict[str, object]) -> None:
    source = source_with(tmp_path, metadata)
    for name, value in expected.items():
        found = source.classes if name == "classes" else getattr(source.input_info, name)
        assert found == (pytest.approx(value) if isinstance(value, list | float) else value)
        assert name not in source.assumed
    assert any("metadata of m.onnx" in note for note in source.notes)


def test_hugging_face_files_beside_it(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps(
            {"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2], "resample": 3, "do_center_crop": True,
             "size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}
        )
    )  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps({"id2label": dict(enumerate(LABELS))}))
    source = source_with(tmp_path, {"mean": "0.1,0.2,0.3", "std": "1,1,1"})
    info = source.input_info
    assert (info.interpolation, info.resize, info.crop_ratio) == ("bicubic", "crop", 0.875)
    assert info.mean == [0.1, 0.2, 0.3]  # the file itself counts more
    assert source.classes == tuple(LABELS) and source.assumed == ("channel_order",)


def test_nothing_said_is_assumed_aloud_with_the_options_that_change_it(tmp_path: Path) -> None:
    source = source_with(tmp_path, {"mean": "nonsense", "names": "{0: 'cat', 7: 'dog'}", "classes": "[1, 2]"})
    (assumed,) = (note for note in source.notes if "these are assumed" in note)
    for option in ("--mean", "--std", "--channel-order RGB", "--resize crop", "--crop-ratio 0.875", "--interpolation"):
        assert option in assumed
    assert "--keep-classes FILE" in source.notes[-1] and source.classes == ()
    stated = source_with(tmp_path, {}, mean=(0.0,) * 3, std=(1.0,) * 3, channel_order="BGR", resize="stretch",
                         crop_ratio=1.0, interpolation="nearest")  # fmt: skip
    assert stated.assumed == () and stated.input_info.channel_order == "BGR" and stated.input_info.resize == "stretch"


def test_class_names_of_the_file_are_kept(tmp_path: Path) -> None:
    names = source_with(tmp_path, {"classes": json.dumps(LABELS)}).classes
    assert kept_classes(OWN, names, 5) == LABELS
    with pytest.raises(DataError, match="names 5 classes, expected 4"):
        kept_classes(OWN, names, 4)
    with pytest.raises(DataError, match="does not name its classes"):
        kept_classes(OWN, (), 5)


@given(st.dictionaries(st.sampled_from(["mean", "std", "names", "range", "input", "crop_pct", "resample"]), st.text()))
def test_any_metadata_is_read_without_a_fault(entries: dict[str, str]) -> None:
    model = onnx.ModelProto()
    helper.set_model_props(model, entries)
    found = stated_input(model, Path("nowhere/m.onnx"))
    assert found.std is None or min(found.std) > 0


def test_a_first_layer_for_pixels_up_to_255_is_doubted(tmp_path: Path) -> None:
    """A layer with folded batch normalisation, made for one range of pixels and shown another."""
    usual = rgb_input(8, 8)
    source = source_with(tmp_path, {})
    ranges = {"usual": (1.0, False), "bytes": (1 / (255 * 0.226), True)}
    for factor, doubted in ranges.values():
        model = onnx.ModelProto()
        model.CopyFrom(source.graph)
        weights = {tensor.name: tensor for tensor in model.graph.initializer}
        conv = next(node for node in model.graph.node if node.op_type == "Conv")
        weights[conv.input[1]].CopyFrom(onnx.numpy_helper.from_array(KERNEL * np.float32(factor), conv.input[1]))
        del conv.input[2:]
        conv.input.append("bias")
        model.graph.initializer.append(onnx.numpy_helper.from_array(KERNEL[:, 0, 0, 0] * 2, "bias"))
        assert expects_bytes(model, usual) is doubted
        assert not expects_bytes(model, replace(usual, mean=[0.0] * 3, std=[1 / 255] * 3))


def test_the_doubt_is_said(tmp_path: Path) -> None:
    bias = KERNEL[:, 0, 0, 0] * 2
    nodes = [helper.make_node("Conv", ["x", "small", "bias"], ["c"], strides=[4, 4]), *NODES[1:]]
    path = saved(tmp_path / "m.onnx", nodes, {"small": KERNEL / np.float32(58), "bias": bias})
    assert any(note.startswith("doubt: ") and "--scale 255" in note for note in open_source(SourceOptions(path)).notes)
    stated = open_source(SourceOptions(path, mean=(0.0,) * 3, std=(1.0,) * 3, scale=255.0))
    assert not any("doubt" in note for note in stated.notes)
