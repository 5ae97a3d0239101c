"""A folder that fills: each image is shown once it is whole; what is ignored elsewhere is ignored here."""

import time

from lightcl_edge.serve.sources.folder import SETTLE_SECONDS, images_of, new_images
from lightcl_edge.serve.sources.opening import open_source
from pictures import jpeg, size_of


def test_links_hidden_and_other_files_are_left_alone(tmp_path):
    (tmp_path / "cat").mkdir()
    (tmp_path / ".learned").mkdir()
    (tmp_path / "cat" / "deeper").mkdir()
    for name in ("a.jpg", ".b.jpg", "notes.txt", "cat/c.png", "cat/deeper/d.jpg", ".learned/e.jpg"):
        (tmp_path / name).write_bytes(jpeg())
    (tmp_path / "link.jpg").symlink_to(tmp_path / "a.jpg")
    (tmp_path / "dog").symlink_to(tmp_path / "cat")
    assert sorted(path.relative_to(tmp_path).as_posix() for path in images_of(tmp_path)) == ["a.jpg", "cat/c.png"]


def test_a_file_is_shown_when_it_is_whole_and_again_when_it_was_changed(tmp_path, monkeypatch):
    moment = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: moment[0])
    old, new = tmp_path / "old.jpg", tmp_path / "new.jpg"
    old.write_bytes(jpeg(0))
    new.write_bytes(jpeg(1))
    found = new_images(tmp_path)

    def look():
        moment[0] += SETTLE_SECONDS
        return [path.name for path in iter(lambda: next(found), None)]

    assert look() == []
    assert look() == ["new.jpg"]  # older ones were there before
    growing = tmp_path / "growing.jpg"
    growing.write_bytes(jpeg(2)[:100])
    assert look() == []
    growing.write_bytes(jpeg(2))
    assert look() == []
    assert look() == ["growing.jpg"]
    old.write_bytes(jpeg(3, 30, 30))
    assert look() == []
    assert look() == ["old.jpg"]
    growing.unlink()
    assert look() == []
    growing.write_bytes(jpeg(4, 32, 32))
    assert [*look(), *look()] == ["growing.jpg"]


def test_images_come_one_by_one_and_a_missing_folder_is_waited_for(tmp_path):
    folder = tmp_path / "spool"
    source = open_source(f"folder:{folder}")
    try:
        end = time.monotonic() + 15
        while "can't be read" not in source.status().message and time.monotonic() < end:
            time.sleep(0.02)
        assert source.status().message.startswith(f"the folder {folder} can't be read (No such file")
        assert not source.status().working
        folder.mkdir()
        (folder / "broken.jpg").write_bytes(b"no picture")
        sizes = []
        for number in range(1, 4):
            (folder / f"{number}.png").write_bytes(jpeg(number, 20 + number, 20, format="PNG"))
            frame = source.wait_newer(number - 1, 20)
            sizes.append(size_of(frame.jpeg))
        assert sizes == [(21, 20), (22, 20), (23, 20)]
        assert source.status().working
    finally:
        source.close()
