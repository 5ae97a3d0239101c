"""Records and jobs the tests of the profiler share."""

from __future__ import annotations

import html
import re
from pathlib import Path

from lightcl_profiler.methods.contract import Job
from lightcl_profiler.records.record import Phase, Run

MIB = 2**20


def make_job(kind: str, scratch: Path) -> Job:
    return Job(
        method=f"toy-{kind.lower()}",
        implementation=f"profile_toys:{kind}",
        bundle="nowhere",
        tasks=[],
        scratch=str(scratch),
        epochs=1,
        batch_size=2,
        learning_rate=0.1,
        threads=1,
        seed=0,
        engine="auto",
    )


def make_run(method: str, number: int, peak_mib: int, pss: int | None = 90 * MIB) -> Run:
    return Run(
        method=method,
        run=number,
        images=40,
        peak_rss_bytes=peak_mib * MIB,
        import_rss_bytes=45 * MIB,
        phases=[Phase("import", 0.1, 0.5, 45 * MIB), Phase("train", 0.6, 2.0, peak_mib * MIB)],
        seconds_per_image=0.05,
        pss_peak_bytes=pss,
        anonymous_bytes=60 * MIB,
        file_bytes=30 * MIB,
        swap_bytes=0,
        wall_seconds=2.7,
        cpu_seconds=3.1,
        loss=0.25,
        notes=["engine ort"],
        timeline=[(0.0, 10 * MIB, None), (0.7, 60 * MIB, 50 * MIB), (2.6, peak_mib * MIB, pss)],
    )


def tag(kind: str) -> str:
    """What a page shows beside a figure: where it comes from."""
    return f'<span class="tag {kind}">{kind}</span>'


def cells(page: str) -> dict[str, list[str]]:
    """What a page shows on a phone: the name that the style writes before a column, and the text of its cells."""
    names = {
        (kind, int(at)): re.sub(r"\\([0-9a-f]+) ", lambda found: chr(int(found[1], 16)), name)
        for kind, at, name in re.findall(r'\.(t\w+) td:nth-child\((\d+)\)::before{content:"(.*?)"}', page)
    }
    found: dict[str, list[str]] = {}
    for kind, body in re.findall(r'class="cards (t\w+)">.*?<tbody>(.*?)</tbody>', page, re.DOTALL):
        for row in re.findall(r"<tr.*?>(.*?)</tr>", body):
            for at, cell in enumerate(re.findall(r"<td>(.*?)</td>", row)[1:], 2):
                text = html.unescape(re.sub("<.*?>", "", cell)).replace("\u00a0", " ")
                found.setdefault(names[kind, at], []).append(text)
    return found
