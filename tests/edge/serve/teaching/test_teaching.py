"""Pictures that wait to be learned: what was acknowledged survives, and what was learned goes."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from lightcl_edge.data.region import Region
from lightcl_edge.errors import DataError
from lightcl_edge.serve.teaching import taught as module
from lightcl_edge.serve.teaching.taught import FullError, TaughtPictures
from served import picture


@pytest.fixture
def taught(tmp_path):
    return TaughtPictures(tmp_path / "spool")


def test_pictures_are_found_again_after_a_restart(taught):
    names = [taught.add("cup", picture("red", seed)) for seed in range(3)] + [taught.add("Tür", picture("green"))]
    assert names == sorted(names)
    again = TaughtPictures(taught.spool.folder)
    assert [each.id for each in again.listed().pictures] == names and again.counts() == {"Tür": 1, "cup": 3}
    assert int(again.add("cup", picture("red"))) > int(names[-1])


def test_what_is_written_halfway_is_cleared(taught):
    taught.add("cup", picture("red"))
    (taught.spool.folder / "cup" / ".00000000000000000001.part").write_bytes(b"half")
    again = TaughtPictures(taught.spool.folder)
    assert len(again.listed().pictures) == 1 and not list(taught.spool.folder.rglob("*.part"))


@pytest.mark.parametrize("name", ["", " ", ".", "..", ".hidden", "a/b", "a\nb", "thumbs.db", "x" * 61, "lost+found"])
def test_names_that_can_not_be_folders_are_refused(taught, name):
    with pytest.raises(DataError, match="the class name is"):
        taught.add(name, picture("red"))
    assert not any(taught.spool.folder.iterdir())


def test_a_name_is_one_name_however_it_is_written(taught):
    taught.add("Tür ", picture("red"))
    taught.add("Tu\u0308r", picture("red", 1))
    assert taught.counts() == {"Tür": 2}


def test_metadata_of_pictures_is_not_kept(taught):
    exif = Image.Exif()
    exif[0x010E] = "<script>alert(1)</script>"
    exif[0x0112] = 6  # turned
    out = io.BytesIO()
    Image.new("RGB", (40, 20), (200, 0, 0)).save(out, "JPEG", exif=exif, comment=b"secret place")
    kept = taught.read(taught.add("cup", out.getvalue()))
    assert b"script" not in kept and b"secret" not in kept and b"Exif" not in kept
    assert Image.open(io.BytesIO(kept)).size == (20, 40)  # upright


def test_only_the_part_that_counts_is_kept(taught):
    name = taught.add("cup", picture("red", side=(80, 40)), Region(0.5, 0.5, 0.5, 0.5))
    assert Image.open(io.BytesIO(taught.read(name))).size == (40, 20)


def test_a_batch_that_is_not_learned_waits_again(taught):
    names = [taught.add("cup", picture("red", seed)) for seed in range(3)]
    assert taught.take() == 3 and taught.counts() == {} and taught.read(names[0]) is None
    later = taught.add("cup", picture("red", 9))
    taught.put_back()
    assert [each.id for each in taught.listed().pictures] == [*names, later] and not taught.spool.has_batch()


def test_there_are_only_so_many(taught, monkeypatch):
    monkeypatch.setattr(module, "MOST_PICTURES", 2)
    for seed in range(2):
        taught.add("cup", picture("red", seed))
    with pytest.raises(FullError, match="2 pictures wait already"):
        taught.add("cup", picture("red", 3))


def test_erasing_a_class_leaves_none_of_its_pictures(taught):
    taught.add("cup", picture("red"))
    taught.add("plate", picture("green"))
    learned = taught.spool.folder / ".learned" / "000001"
    for name in ("cup", "plate"):
        (learned / name).mkdir(parents=True)
        (learned / name / "1.jpg").write_bytes(picture("red"))
    taught.erase("cup")
    left = sorted(str(path.relative_to(taught.spool.folder)) for path in taught.spool.folder.rglob("*.jpg"))
    assert len(left) == 2 and not any("cup" in path for path in left)
    taught.rename("plate", "dish")
    assert (learned / "dish" / "1.jpg").exists() and list(taught.counts()) == ["dish"]


def test_a_disk_that_is_full_keeps_nothing_half(taught, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_durably", full)
    with pytest.raises(OSError, match="No space left"):
        taught.add("cup", picture("red"))
    assert taught.counts() == {} and not list(taught.spool.folder.rglob("*.*"))
