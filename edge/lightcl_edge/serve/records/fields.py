"""Kinds of fields that several records share."""

from __future__ import annotations

from typing import Annotated

from lightcl_edge.serve.records.rules import at_most, pattern, within

#: A class's name is also the name of a folder: no slash, no leading dot, no space at an end, nothing unprintable.
CLASS_NAME = pattern(
    r"^[^\s./\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]"
    r"([^/\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]{0,58}[^\s/\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff])?$",
    "1 to 60 printable characters, without / and not beginning with a dot",
)
PICTURE_ID = pattern(r"^[0-9a-z-]{1,40}$", "the id of a picture")

ClassName = Annotated[str, CLASS_NAME]
PictureId = Annotated[str, PICTURE_ID]
Ids = Annotated[list[PictureId], at_most(500)]
Share = Annotated[float, within(0, 1)]
