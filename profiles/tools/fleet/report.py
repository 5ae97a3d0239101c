"""The page of a simulation."""

from __future__ import annotations

from lightcl_edge.console.text import Document, format_bytes
from lightcl_host.fleet.page import Section, page
from lightcl_profiler.reports.page import Table, columns

_WAYS = {
    "files": "the others' files",
    "pool": "one sum of all",
    "secure": "one sum of all, of which the server sees no part (SecAgg+)",
}


def simulation_page(document: Document) -> str:
    """What ``fleet_simulation.py`` found, as one page."""
    first = document["rounds"][0]
    lead = (
        f"{document['boards']} boards have {document['images'] // document['boards']} pictures of two classes each. "
        f"After one round each knows {document['least_classes']} classes. It names {document['together']['mean']:.1%} "
        f"of {document['test_images']:,} test pictures, and one that learned all {document['images']:,} pictures "
        f"itself {document['pooled']:.1%}. Each board gets {_WAYS[document['send']]}; a picture is "
        f"{document['numbers']} numbers."
    )
    sections = [_accuracy(document, first), _equal(document), _rounds(document["rounds"], document["note"])]
    return page(f"{document['boards']} boards on Flower", lead, sections, document["command"])


def _accuracy(document: Document, first: Document) -> Section:
    both = first["up_bytes"] + first["down_bytes"]
    rows = [
        ["each board alone", f"{document['alone']['mean']:.1%}", "0", "0 B", ""],
        ["this, exact sums", f"{document['together']['mean']:.1%}", "1", format_bytes(int(both)), "1"],
    ]
    head = document.get("head", {})
    for name in ("FedAvg", "FedProx") if head else ():
        rounds, course = head["rounds"], head[name]
        reached = next((str(at) for at, each in enumerate(course) if each >= 0.95 * document["pooled"]), "not reached")
        rows.append([name, f"{course[-1]:.1%}", str(rounds), format_bytes(rounds * head["bytes_a_round"]), reached])
    note = (
        "FedAvg and FedProx are Flower's own. They train a linear classifier on the same taps, 20 steps a board and "
        "round, as many rounds as the same bytes allow. Their learning rate and mu were chosen by test accuracy, which "
        "favours them. Alone, a board knows two of the classes."
    )
    names = ("way", "test accuracy", "rounds", "bytes a board, both ways", "rounds to 95 % of pooled accuracy")
    return Section("Accuracy at equal bytes", Table(columns("measured", *names), rows), note)


def _equal(document: Document) -> Section:
    together = document["together"]
    rows = [
        ["largest relative difference of means and scatter", f"{document['largest_relative_difference']:.1e}"],
        [
            "share of test pictures with the same answer, least of all boards",
            f"{document['least_share_of_equal_predictions']:.2%}",
        ],
        [
            "accuracy of the boards, least and most",
            f"{together['least']:.2%}, {together['most']:.2%}",
        ],
    ]
    return Section("Against learning all pictures at one place", Table(columns("measured", "what", "found"), rows))


def _rounds(rounds: list[Document], note: str) -> Section:
    rows = [
        [
            str(at),
            str(each["took_in"]),
            format_bytes(int(each["up_bytes"])),
            format_bytes(int(each["down_bytes"])),
            f"{each['seconds']:.0f} s",
            format_bytes(each["merge_peak_rss_bytes"]),
        ]
        for at, each in enumerate(rounds, 1)
    ]
    names = (
        "round",
        "took something in",
        "a board sends",
        "a board gets",
        "time",
        "largest peak of a merge",
    )
    return Section("Rounds", Table(columns("measured", *names), rows), f"In the second round nothing is new. {note}")
