"""The running task's folder."""

from __future__ import annotations

#: In the work folder: the generation that the running task started from.
_TASK = "parent"
