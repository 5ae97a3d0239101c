"""Text for a terminal, and sizes as people write them."""

from __future__ import annotations

from lightcl_edge.console.text import parse_memory, printable


def test_text_for_a_terminal():
    assert printable("a\x1b[31m\udcff\r\n\tb é") == "a\\x1b[31m\\udcff\\r\n\tb é"


def test_sizes_that_are_clear_stay_as_they_are():
    assert [parse_memory(text) for text in ("1048576", "200MiB", "2g", "512k", "20B")] == [
        2**20, 200 * 2**20, 2**31, 2**19, 20,
    ]  # fmt: skip
