"""Feature bytes, the feature store, and images from all sources."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lightcl_edge.bundle.manifest import FeatureInfo, InputInfo
from lightcl_edge.data import decoding
from lightcl_edge.data.dataset import ArrayDataset, FolderDataset
from lightcl_edge.data.decoding import load_image, resize
from lightcl_edge.data.feature_store import FeatureStore, FeatureStoreWriter
from lightcl_edge.data.specification import open_dataset
from lightcl_edge.data.uint8_codec import FeatureCodec
from lightcl_edge.errors import DataError
from lightcl_edge.inference.trunk import normalise
from pictures import jpeg

CROP = InputInfo(8, 8, "crop", 0.5, "bilinear", [0.5] * 3, [0.5] * 3, "RGB")
STRETCH = InputInfo(8, 6, "stretch", 1.0, "nearest", [0.0] * 3, [1.0] * 3, "BGR")


@given(
    scale=st.lists(st.floats(1e-3, 10), min_size=3, max_size=3),
    zero=st.lists(st.integers(0, 255), min_size=3, max_size=3),
    seed=st.integers(0, 2**32 - 1),
)
def test_codec_rounds_within_half_a_step(scale, zero, seed):
    codec = FeatureCodec(FeatureInfo([3, 2, 2], scale, zero))
    stored = np.random.default_rng(seed).integers(0, 256, (5, 3, 2, 2)).astype(np.uint8)
    assert (codec.encode(codec.decode(stored)) == stored).all()
    lowest = (0 - np.array(zero, np.float64)) * scale
    values = (lowest + np.random.default_rng(seed).random((4, 2, 2, 3)) * 255 * np.array(scale)).transpose(0, 3, 1, 2)
    error = np.abs(codec.decode(codec.encode(values.astype(np.float32))) - values)
    assert (error <= 0.501 * np.array(scale).reshape(1, 3, 1, 1) + 1e-4).all()


def test_codec_clips():
    codec = FeatureCodec(FeatureInfo([1], [1.0], [10]))
    assert codec.encode(np.array([[-50.0], [1000.0]], np.float32)).tolist() == [[0], [255]]


def test_store_reads_back_and_knows_its_key(tmp_path):
    writer = FeatureStoreWriter(tmp_path / "f", (2, 2), "key")
    data = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    writer.append(data[:2], [4, 5], [2**64 - 1, 0])
    assert FeatureStore.open(tmp_path / "f", (2, 2), "key") is None
    writer.append(data[2:], [6], [7])
    writer.finish()
    store = FeatureStore.open(tmp_path / "f", (2, 2), "key")
    assert store is not None and len(store) == 3 and store.labels.tolist() == [4, 5, 6]
    assert store.marks.tolist() == [2**64 - 1, 0, 7]
    assert (store.read(np.array([2, 0])) == data[[2, 0]]).all()
    assert FeatureStore.open(tmp_path / "f", (2, 2), "other") is None
    (tmp_path / "f" / "features.u8").write_bytes(b"short")
    assert FeatureStore.open(tmp_path / "f", (2, 2), "key") is None


def test_normalise_against_plain_arithmetic():
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3)).astype(np.uint8)
    info = InputInfo(4, 5, "stretch", 1.0, "nearest", [0.1, 0.2, 0.3], [0.5, 0.6, 0.7], "RGB")
    expected = (pixels / 255.0 - np.array(info.mean)) / np.array(info.std)
    assert np.allclose(normalise(pixels, info), expected.transpose(0, 3, 1, 2), atol=1e-6)
    assert np.allclose(normalise(pixels, STRETCH)[:, 0], pixels[..., 2] / 255.0, atol=1e-6)


def test_resize_stretches_or_crops():
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 18:22] = 255
    assert resize(wide, STRETCH).shape == (8, 6, 3)
    cropped = resize(wide, CROP)
    assert cropped.shape == (8, 8, 3) and cropped[4, 4, 0] > 200 > cropped[4, 0, 0]


@given(st.integers(1, 60), st.integers(1, 60))
def test_any_size_of_image_fits(height, width):
    assert resize(np.zeros((height, width, 3), np.uint8), CROP).shape == (8, 8, 3)


def test_photos_are_turned_upright(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[0] = 255
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    info = InputInfo(8, 8, "stretch", 1.0, "nearest", [0.0] * 3, [1.0] * 3, "RGB")
    assert load_image(tmp_path / "a.png", info)[7].min() == 255


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    suffix = "jpg" if mode == "CMYK" else "png"
    Image.new(mode, (9, 7)).save(tmp_path / f"a.{suffix}")
    assert load_image(tmp_path / f"a.{suffix}", CROP).shape == (8, 8, 3)


def test_too_many_pixels_are_refused_before_decoding(tmp_path, monkeypatch):

    Image.new("L", (100, 100)).save(tmp_path / "a.png")
    monkeypatch.setattr("lightcl_edge.data.decoding.MAX_PIXELS", 9_999)
    with pytest.raises(DataError, match="expected at most 9999"):
        load_image(tmp_path / "a.png", CROP)


def folder(path, names):
    for name in names:
        (path / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(path / name / "a.png")
    return path


def test_folder_order_is_by_name_and_hidden_ones_are_left_out(tmp_path):
    data = FolderDataset(folder(tmp_path / "d", ["b", "a", ".hidden"]))
    assert data.classes == ["a", "b"] and data.labels.tolist() == [0, 1]
    (tmp_path / "d" / "a" / "notes.txt").write_text("x")
    assert len(FolderDataset(tmp_path / "d")) == 2


def test_tasks_partition_the_classes(tmp_path):
    spec = str(folder(tmp_path / "d", [f"c{i}" for i in range(7)]))
    parts = [open_dataset(f"{spec}@{k}/3").classes for k in (1, 2, 3)]
    assert [name for part in parts for name in part] == [f"c{i}" for i in range(7)] and all(parts)
    assert open_dataset(f"{spec}@1-2/3").classes == parts[0] + parts[1]
    assert open_dataset(f"{spec}@2/3").labels.tolist() == list(range(len(parts[1])))
    for wrong in ("@0/3", "@4/3", "@2-1/3", "@1/8"):
        with pytest.raises(DataError, match="expected 1 to at most"):
            open_dataset(spec + wrong)


def test_a_folder_whose_name_looks_like_a_selection(tmp_path):
    assert open_dataset(str(folder(tmp_path / "d@1" / "2", ["a"]))).classes == ["a"]


def test_npz(tmp_path):
    pixels = np.zeros((3, 5, 5), np.uint8)
    np.savez(tmp_path / "a.npz", x=pixels, y=np.array([10, 9, 10]))
    data = open_dataset(str(tmp_path / "a.npz"))
    assert data.classes == ["9", "10"] and data.labels.tolist() == [1, 0, 1] and data.image(0).shape == (5, 5, 3)
    np.savez(tmp_path / "b.npz", x=pixels)
    np.savez(tmp_path / "c.npz", x=pixels.astype(float), y=np.zeros(3, int))
    np.savez(tmp_path / "d.npz", x=pixels, y=np.zeros(2, int))
    np.savez(tmp_path / "e.npz", x=np.array([{}], object), y=np.zeros(1, int))
    (tmp_path / "f.npz").write_text("no")
    for name, says in (
        ("b", "lacks"),
        ("c", "float64"),
        ("d", "expected 3"),
        ("e", "without objects"),
        ("f", "read as"),
    ):
        with pytest.raises(DataError, match=says):
            open_dataset(str(tmp_path / f"{name}.npz"))
    with pytest.raises(DataError, match="no data at"):
        open_dataset(str(tmp_path / "none.npz"))


def test_digits_are_split_without_overlap():
    train, test = open_dataset("digits"), open_dataset("digits:test")
    assert len(train) + len(test) == 1797 and train.classes == test.classes == [str(d) for d in range(10)]
    assert open_dataset("digits@5/5").classes == ["8", "9"]
    with pytest.raises(DataError, match="take no path"):
        open_dataset("digits:/somewhere")


def test_cifar10_from_folders(tmp_path):
    folder(tmp_path / "c" / "train", ["cat", "dog"])
    assert open_dataset(f"cifar10:{tmp_path}/c").classes == ["cat", "dog"]
    with pytest.raises(DataError, match="found no folder"):
        open_dataset(f"cifar10:test:{tmp_path}/c")


def test_arrays_refuse_what_is_no_image():
    with pytest.raises(DataError, match="expected uint8"):
        ArrayDataset(np.zeros((2, 4, 4, 4), np.uint8), np.zeros(2, int), "x")
    with pytest.raises(DataError, match="no images"):
        ArrayDataset(np.zeros((0, 4, 4), np.uint8), np.zeros(0, int), "x")


@pytest.mark.parametrize("kind", ["png", "tif"])
def test_grey_of_sixteen_bits_keeps_its_shades(tmp_path, kind):
    ramp = np.linspace(0, 2**16 - 1, 64 * 64).astype(np.uint16).reshape(64, 64)
    Image.fromarray(ramp).save(tmp_path / f"ramp.{kind}")
    found = load_image(tmp_path / f"ramp.{kind}", replace(STRETCH, width=64, height=64))
    assert abs(float(found.mean()) - 127.5) < 3 and found.min() < 5 and found.max() > 250


def test_extreme_images_stay_small(tmp_path):
    from PIL import Image

    from lightcl_edge.bundle.manifest import InputInfo
    from lightcl_edge.data.decoding import load_image

    Image.new("RGB", (20_000, 1)).save(tmp_path / "thin.png")
    info = InputInfo(64, 64, "crop", 0.875, "bicubic", [0.0] * 3, [1.0] * 3, "RGB")
    assert load_image(tmp_path / "thin.png", info).shape == (64, 64, 3)


def test_a_progressive_jpeg_is_counted_in_full(tmp_path):
    for progressive, expected in ((False, 8 * 500 * 250), (True, 8 * 500 * 250 + 6 * 4000 * 2000)):
        Image.new("RGB", (4000, 2000)).save(tmp_path / "p.jpg", progressive=progressive)
        image = Image.open(tmp_path / "p.jpg")
        image.draft("RGB", (128, 128))
        assert decoding.decoding_bytes(image) == expected


def test_turned_photos_stand_upright(tmp_path):
    """The image is turned in place; what comes out is as it was seen."""
    from lightcl_edge.data.decoding import load_image
    from small_bundle import INPUT

    picture = Image.new("RGB", (64, 64), (0, 0, 0))
    picture.paste((255, 255, 255), (0, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise: what is on top belongs on the right
    picture.save(tmp_path / "turned.png", exif=exif)
    pixels = load_image(tmp_path / "turned.png", INPUT)
    assert pixels[8, -1].tolist() == [255, 255, 255] and pixels[8, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize(("fit", "least"), [("crop", 220), ("stretch", 192)])
def test_a_jpeg_is_halved_while_it_is_decoded_and_never_below_what_resizing_needs(fit, least):
    """1.5 times the input's side of 128; a crop of 0.875 looks at that much less."""
    info = InputInfo(128, 128, fit, 0.875, "bicubic", [0.0] * 3, [1.0] * 3, "RGB")
    for side in (200, 2 * least - 2, 2 * least, 640, 4 * least - 4, 4 * least, 8 * least, 1999):
        image = decoding.open_bytes(jpeg(1, side, side), "frame")
        decoding._reduce(image, "frame", info)
        divisor = max(each for each in (1, 2, 4, 8) if each == 1 or side / each >= least)
        assert image.size == (-(-side // divisor),) * 2
