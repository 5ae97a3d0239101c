"""The spool takes a file once others have stopped writing it."""

from PIL import Image

from lightcl_edge.data.spool import Spool
from small_bundle import make_folder


def test_only_whole_files_are_taken(tmp_path):
    spool = Spool(make_folder(tmp_path / "spool", ["red"], count=2), settle_seconds=2.0)
    first, second = sorted((tmp_path / "spool" / "red").iterdir())
    (tmp_path / "spool" / "red" / "link.png").symlink_to(first)
    (tmp_path / "spool" / "red" / ".part.png").write_bytes(b"x")
    (tmp_path / "spool" / "red" / "notes.txt").write_bytes(b"x")
    assert spool.ready(now=10.0) == {}
    with second.open("ab") as file:
        file.write(b"more")
    assert list(spool.ready(now=12.0)) == [first]
    assert list(spool.ready(now=14.0)) == [first, second]
    spool.take([first, second])
    assert len(spool.batch()) == 2 and spool.waits() == 0
    Image.new("RGB", (4, 4)).save(first)
    assert spool.ready(now=20.0) == {} and list(spool.ready(now=22.0)) == [first]
    spool.take([first])  # of the same name as one that is being learned
    assert len(spool.batch()) == 3
