"""The evaluation on the page: of held-out features, with mistakes among the pictures that are kept."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from lightcl_edge.console.text import count
from lightcl_edge.data.spool import LEARNED
from lightcl_edge.errors import LightclError
from lightcl_edge.inference.evaluation import Evaluation
from lightcl_edge.inference.evaluation_page import EvaluationView, Mistake, bins, render_part, shown, thumbnail
from lightcl_edge.serve.watching.recogniser import Recogniser

#: Of the kept pictures so many are looked at, the newest first.
_LOOKED_AT = 60


def evaluation_part(found: Evaluation, number: int, recogniser: Recogniser, spool: Path) -> str:
    """Sections for the page about generation ``number``, as ``evaluate --html`` has them.

    Pictures in ``spool`` are predicted again.
    """
    looked_at, mistakes = _mistakes(found, recogniser, spool)
    note = (
        "Pictures are not kept once they are learned, so none can be shown. If a class is taken for another, teach it "
        "again with pictures like those that go wrong."
    )
    if looked_at:
        note = f"{len(mistakes)} of the newest {count(looked_at, 'picture')} that it was taught."
    view = EvaluationView(found, number, shown(found), mistakes, len(mistakes), bins(found.answers), [], note)
    return render_part(view)


def _mistakes(found: Evaluation, recogniser: Recogniser, spool: Path) -> tuple[int, list[Mistake]]:
    """How many kept pictures were looked at, and those taken for another class, the surest first."""
    kept = (path for path in _newest_first(spool / LEARNED) if path.parent.name in found.classes)
    looked_at, mistakes = 0, []
    for path in islice(kept, _LOOKED_AT):
        try:
            picture = path.read_bytes()
            pixels = recogniser.pixels(picture, None, path.name)
            prepared = None if pixels is None else recogniser.prepare(pixels)
            seen = recogniser.see(picture, None, path.name, prepared)
        except (LightclError, OSError):
            continue
        if seen is None or pixels is None:
            break
        looked_at += 1
        best = seen.prediction.top[0]
        if best.class_name != path.parent.name:
            mistakes.append(Mistake(path.parent.name, best.class_name, best.probability, thumbnail(pixels)))
    return looked_at, sorted(mistakes, key=lambda each: -each.confidence)


def _newest_first(learned: Path) -> list[Path]:
    """Images of the newest generation first; names are times."""
    found = [path for path in learned.glob("*/*/*") if path.is_file()]
    return sorted(found, key=lambda path: (path.parent.parent.name, path.name), reverse=True)
