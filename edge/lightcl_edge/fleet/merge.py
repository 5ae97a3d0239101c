"""``merge``: take in what other boards taught, as a new generation through the gate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.signature import read_public_key
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document
from lightcl_edge.data.sums import Sums
from lightcl_edge.errors import LightclError, StateError
from lightcl_edge.fleet.arrivals import Ignored, sort_out
from lightcl_edge.fleet.candidate import Candidate, base_of, candidate, commit
from lightcl_edge.fleet.head_file import HeadFile, is_head
from lightcl_edge.fleet.kept import Kept
from lightcl_edge.fleet.knowledge import network_hash
from lightcl_edge.fleet.share import shared
from lightcl_edge.fleet.sifting import Me, Sifted, joined, sift
from lightcl_edge.learning.forgetting import forget
from lightcl_edge.learning.gate import DEFAULT_MAX_FORGETTING
from lightcl_edge.machine.interrupts import DeferredInterrupt
from lightcl_edge.machine.process_memory import PhaseMeter
from lightcl_edge.state.board import KEPT, Board, named, read_board, with_erased, write_board
from lightcl_edge.state.bundle_choice import ChosenBundle, bundle_for
from lightcl_edge.state.change import Change, changing
from lightcl_edge.state.exported_classes import base_generation
from lightcl_edge.state.state import State
from lightcl_edge.state.sums_files import class_hash
from lightcl_edge.state.trust import remember_trust


@dataclass(frozen=True)
class MergeOptions:
    """What a user asks for.

    Attributes:
        files: knowledge of other boards, in any order.
        bundle: path of the bundle; None once the state has its own copy.
        key: PEM file of the public key that must have signed the files; None for no matter who.
        threads: None for all processors that this process may use.
    """

    state: Path
    files: Sequence[Path]
    bundle: Path | None = None
    key: Path | None = None
    max_forgetting: float = DEFAULT_MAX_FORGETTING
    threads: int | None = None


def merge(options: MergeOptions, meter: PhaseMeter, progress: Progress) -> Document:
    """Take in knowledge files; those that are refused are named, and the others taken.

    Erasures come first, and no rollback undoes them, as for ``forget``.

    Raises:
        DataError: when all files are refused; a BundleError when the first was refused for its network or signature.
        LightclError: of the kinds that ``docs/reference/exit-codes.md`` lists.
    """
    started = time.perf_counter()
    if len(options.files) == 1 and is_head(options.files[0]):
        return _take_head(options, meter, started)
    state = State(options.state)
    if state.exists():
        state.keep_open()
    key = read_public_key(options.key) if options.key else None
    chosen = bundle_for(state, options.bundle)
    with changing(state, create=True) as change:
        before_bytes = change.written.total_bytes
        board = named(read_board(state.folder), None)
        with meter.phase("read"):
            network, size = network_hash(chosen.bundle), chosen.bundle.manifest.head.tap_size
            sums = state.read().sums if state.exists() else Sums(size)
            arrivals = sort_out(options.files, str(board.name), sums.boards, network, size, key)
            version = _own_version(board, sums, network) if arrivals.pools else 0
            sifted = sift(arrivals, Me(str(board.name), sums, board.erased, version, Kept(state.folder / KEPT)))
            _refuse_if_all_are(sifted, len(options.files))
        bundle = _own_copy(change, chosen, options.threads)
        for ignored in sifted.ignored:
            progress.note(f"{ignored.file} is not taken in: {ignored.reason}")
        more_erased = with_erased(board, sifted.erased)
        found: Candidate | None = None
        erased: list[str] = []
        if more_erased != board or sifted.taken:
            board = more_erased
            with meter.phase("erase"):
                erased = _erase(change, bundle, board)
        if sifted.taken:
            found = _take_in(change, bundle, board, sifted, options, meter)
        meta = found.generation.meta if found else state.read(bundle=bundle).meta
        document = _document(sifted, found, erased)
    return {
        "generation": meta.generation,
        "board": board.name,
        "classes": meta.classes,
        "strategy": meta.strategy,
        "holdout_accuracy": meta.holdout_accuracy,
        "images_by_class": dict(zip(meta.classes, meta.images_by_class, strict=True)),
        **document,
        "bytes_written": change.written.total_bytes - before_bytes,
        "peak_rss_bytes": meter.peak_rss_bytes,
        "seconds": time.perf_counter() - started,
    }


def _take_head(options: MergeOptions, meter: PhaseMeter, started: float) -> Document:
    """Take in a head, the average of what boards trained. It counts where it is of use on what this board remembers."""
    from lightcl_edge.fleet.federated_head import with_head  # with an engine, which other merges need not load

    state, file = State(options.state), HeadFile(options.files[0])
    with changing(state) as change:
        bundle, before_bytes = state.bundle(), change.written.total_bytes
        head = bundle.manifest.head
        with meter.phase("read"):
            key = read_public_key(options.key) if options.key else None
            file.check(network_hash(bundle), head.tap_size, key, head)
            file.refuse_erased(read_board(state.folder).erased)
        with meter.phase("merge"):
            found = with_head(state, file, options.max_forgetting, options.threads)
        meta = state.read(bundle=bundle).meta
        if found is not None:
            with DeferredInterrupt(), meter.phase("commit"):
                meta = commit(change, bundle, found, 0)
    return {
        "generation": meta.generation,
        "head": found is not None,
        "strategy": meta.strategy,
        "classes": meta.classes,
        "holdout_accuracy": meta.holdout_accuracy,
        "per_class": found.judgement.document() if found else {},
        "bytes_written": change.written.total_bytes - before_bytes,
        "peak_rss_bytes": meter.peak_rss_bytes,
        "seconds": time.perf_counter() - started,
    }


def _own_copy(change: Change, chosen: ChosenBundle, threads: int | None) -> Bundle:
    """The state's copy of the bundle. A new state gets one, if this machine computes what the host did."""
    state, bundle = change.state, chosen.bundle
    if state.bundle_identity() != bundle.identity:
        from lightcl_edge.inference.golden import check_golden

        check_golden(bundle, threads, None)
        change.install_bundle(bundle)
    own = state.own_bundle()
    remember_trust(state.folder, chosen.trust, own, chosen.signature)
    return own


def _own_version(board: Board, sums: Sums, network: str) -> int:
    """The version that this board shared, if it has taught nothing since; else 0."""
    return board.version if shared(board, sums, network)[0].version == board.version else 0


def _refuse_if_all_are(sifted: Sifted, files: int) -> None:
    """Raise the first refusal when no file can be used, with all of them in its details."""
    refused = [each.refused for each in sifted.ignored if each.refused is not None]
    if files and len(refused) == files:
        first: LightclError = refused[0]
        lines = "\n".join(f"  {each.file}: {each.reason}" for each in sifted.ignored)
        details = {"ignored": _ignored(sifted.ignored)}
        raise type(first)(f"nothing was merged, every file is refused:\n{lines}", details)


def _erase(change: Change, bundle: Bundle, board: Board) -> list[str]:
    """Forget the classes that others have erased since they were taught here; gives their names."""
    state, before = change.state, read_board(change.state.folder).erased
    more = {key for key, count in board.erased.items() if count > before.get(key, 0)}
    known: set[str] = set()
    for number in [*state.numbers(), 0] if more else []:
        with suppress(StateError):  # forget drops what is damaged
            known |= set(state.read(number, bundle).meta.classes)
    gone = sorted(name for name in known if class_hash(name) in more)
    for name in gone:
        forget(change, name, board.erased[class_hash(name)])
    write_board(state.folder, board)
    return gone


def _take_in(
    change: Change, bundle: Bundle, board: Board, sifted: Sifted, options: MergeOptions, meter: PhaseMeter
) -> Candidate:
    state = change.state
    with meter.phase("merge"):
        generation, exported = state.read(bundle=bundle), base_generation(state.folder, bundle)
        base = base_of(bundle, generation, exported, options.threads)
        sums = joined(base.generation.sums, sifted, board.erased)
        found = candidate(base, sums, options.max_forgetting)
    with DeferredInterrupt(), meter.phase("commit"):
        final = commit(change, bundle, found, _images(sums, base.generation.sums))
    base.close()
    return replace(found, generation=replace(found.generation, meta=final))


def _images(sums: Sums, before: Sums) -> int:
    """How many images are new."""
    return max(0, sum(sums.counts.values()) - sum(before.counts.values()))


def _document(sifted: Sifted, found: Candidate | None, erased: Sequence[str]) -> Document:
    return {
        "new_classes": list(found.new_classes) if found else [],
        "erased_classes": list(erased),
        "images": found.generation.meta.images if found else 0,
        "per_class": found.judgement.document() if found else {},
        "merged": [
            {"board": each.record.board, "version": each.record.version, "classes": sorted(each.record.images)}
            for each in sifted.taken
        ],
        "ignored": _ignored(sifted.ignored),
    }


def _ignored(ignored: Sequence[Ignored]) -> list[Document]:
    return [
        {"file": str(each.file), "board": each.board, "reason": each.reason, "kind": each.refused and each.refused.kind}
        for each in ignored
    ]
