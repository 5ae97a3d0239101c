"""Frames cut out of a stream of bytes, whatever stands between them, and metadata that stays behind."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from lightcl_edge.errors import DataError, ImageBombError
from lightcl_edge.serve.sources.jpeg import MAX_SIDE, JpegSplitter, clean, without_metadata
from pictures import jpeg, size_of

FRAMES = [jpeg(0), jpeg(1, progressive=True), jpeg(2, 40, 8, restart_marker_blocks=1), jpeg(3, 8, 8, quality=30)]
frames = st.sampled_from(FRAMES)


def split(stream, cuts=(), limit=10_000):
    splitter, found, at = JpegSplitter(limit), [], 0
    for cut in [*sorted(cuts), len(stream)]:
        found += splitter.feed(stream[at:cut])
        at = max(at, cut)
        assert len(splitter._data) <= limit + max(cut, 1)
    return found


def cuts_of(draw, stream):
    return draw(st.lists(st.integers(0, len(stream)), max_size=12))


@given(st.data())
def test_whole_frames_between_garbage_come_out_unchanged_however_the_stream_is_cut(data):
    garbage = st.binary(max_size=20).filter(lambda junk: b"\xff" not in junk)
    wanted = data.draw(st.lists(frames, max_size=5))
    stream = b"".join(data.draw(garbage) + frame for frame in wanted) + data.draw(garbage)
    assert split(stream, cuts_of(data.draw, stream)) == wanted


@given(st.data())
def test_a_truncated_frame_costs_itself_and_at_most_the_next_one(data):
    broken, others = data.draw(frames), data.draw(st.lists(frames, min_size=2, max_size=4))
    stream = broken[: data.draw(st.integers(0, len(broken) - 1))] + b"".join(others)
    # A later frame may end the segment that the truncation left open: nothing is lost for good.
    found = split(stream + FRAMES[0] * 40, cuts_of(data.draw, stream))
    kept = [frame for frame in found if frame in FRAMES]
    assert kept[-39:] == [FRAMES[0]] * 39
    assert kept[: len(others) - 1] in (others[:-1], others[1:])


@given(st.data())
def test_any_bytes_give_only_what_begins_and_ends_as_a_frame(data):
    pieces = st.one_of(
        st.binary(max_size=40), frames, st.sampled_from([b"\xff\xd8\xff", b"\xff\xd9", b"\xff\xda\x00\x02"])
    )
    stream = b"".join(data.draw(st.lists(pieces, max_size=12)))
    whole = split(stream, limit=2000)
    assert split(stream, cuts_of(data.draw, stream), limit=2000) == whole
    assert all(frame[:3] == b"\xff\xd8\xff" and frame[-2:] == b"\xff\xd9" and len(frame) <= 2000 for frame in whole)


def test_a_frame_above_the_limit_is_left_out_and_the_next_one_is_not():
    large = jpeg(0, 200, 200)
    assert len(large) > 10_000
    assert split(large + FRAMES[0], range(0, len(large), 1000)) == [FRAMES[0]]


def test_a_preview_inside_the_metadata_is_no_frame():
    picture = Image.open(io.BytesIO(FRAMES[0]))
    out = io.BytesIO()
    picture.save(out, "JPEG", exif=b"Exif\x00\x00" + FRAMES[3])
    assert split(out.getvalue() + FRAMES[1]) == [out.getvalue(), FRAMES[1]]


def photo(orientation=1, size=(30, 20), **options):
    """A telephone's photo: a bright left half, EXIF with a place, a comment, and bytes after its end."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    pixels[:, : size[0] // 2] = 255
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = orientation, "SECRETMAKER"
    exif.get_ifd(0x8825)[1] = "SECRETPLACE"
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", exif=exif, comment=b"SECRETNOTE", icc_profile=b"SECRETPROFILE", **options)
    return out.getvalue() + b"SECRETTAIL"


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_metadata_is_left_behind_and_the_pixels_stay(options):
    before = photo(**options)
    after = clean(before, "photo")
    assert b"SECRET" in before
    assert b"SECRET" not in after
    assert b"Exif" not in after
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(after))), np.asarray(Image.open(io.BytesIO(before))))


@pytest.mark.parametrize(
    ("orientation", "size", "bright"), [(3, (30, 20), "right"), (6, (20, 30), "top"), (8, (20, 30), "bottom")]
)
def test_a_telephones_photo_is_turned_upright(orientation, size, bright):
    after = clean(photo(orientation), "photo")
    pixels = np.asarray(Image.open(io.BytesIO(after)).convert("L")).astype(int)
    assert (pixels.shape[1], pixels.shape[0]) == size
    height, width = pixels.shape
    halves = {
        "right": pixels[:, width // 2 + 2 :],
        "top": pixels[: height // 2 - 2],
        "bottom": pixels[height // 2 + 2 :],
    }
    assert halves[bright].min() > 200
    assert b"SECRET" not in after


def test_other_formats_and_large_pictures_become_jpeg_frames_of_a_sensible_size():
    assert size_of(clean(jpeg(0, 40, 30, format="PNG"), "p")) == (40, 30)
    assert size_of(clean(jpeg(0, 3000, 1000, quality=20), "p")) == (MAX_SIDE, 427)


def test_colours_of_an_adobe_jpeg_stay():
    pixels = np.zeros((16, 16, 3), np.uint8)
    pixels[..., 0] = 250
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", keep_rgb=True, quality=95)
    assert b"Adobe" in out.getvalue() or b"R\x11" in out.getvalue()
    red, green, blue = np.asarray(Image.open(io.BytesIO(clean(out.getvalue(), "p"))).convert("RGB"))[8, 8]
    assert red > 240
    assert max(green, blue) < 15


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"\xff\xd8\xff", FRAMES[0][:-2], b"\xff\xd8\xff\xe0\x00\x01abc\xff\xd9"]
)
def test_what_is_no_whole_picture_is_refused_in_words(data):
    with pytest.raises(DataError, match="expected"):
        without_metadata(data)
    with pytest.raises(DataError, match="expected"):
        clean(data, "the picture")


def test_a_bomb_is_refused_before_it_is_decoded():
    out = io.BytesIO()
    Image.new("L", (6000, 6000)).save(out, "PNG")
    with pytest.raises(ImageBombError, match="the picture has 6000 x 6000 pixels"):
        clean(out.getvalue(), "the picture")
