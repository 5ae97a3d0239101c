"""``update``: take the bundle that a server offers, and keep the one before until the new one has predicted."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lightcl_edge.bundle.bundle import Bundle
from lightcl_edge.bundle.listing import unpack
from lightcl_edge.bundle.signature import read_public_key
from lightcl_edge.console.progress import Progress
from lightcl_edge.console.text import Document
from lightcl_edge.errors import (
    BundleError,
    DowngradeError,
    LightclError,
    RejectedError,
    StateError,
    StorageError,
    UsageError,
)
from lightcl_edge.files.durable import DurableFile, fsync_folder, make_folders, remove, remove_tree
from lightcl_edge.fleet.download import download, read_from
from lightcl_edge.fleet.frames import Frames, kept_frames, lay_out
from lightcl_edge.fleet.offer import MAX_OFFER_BYTES, OFFER, Offer, basis_of, read_offer
from lightcl_edge.inference.trial import FOLDER, on_trial
from lightcl_edge.machine.child_command import run_command
from lightcl_edge.state.change import Change, changing
from lightcl_edge.state.exported_classes import base_generation
from lightcl_edge.state.generation import Meta
from lightcl_edge.state.lock import locked
from lightcl_edge.state.state import State, bundle_name
from lightcl_edge.state.trust import check_trust, read_trust, remember_trust
from lightcl_edge.state.updates import Trial, read_updates, write_updates
from lightcl_edge.state.written_bytes import read_written

#: Where the page keeps frames that were learned, with ``serve --keep-frames``.
_SPOOL = Path("serve", "spool")


@dataclass(frozen=True)
class UpdateOptions:
    """What a user asks for.

    Attributes:
        source: URL or folder of ``lightcl-host offer``.
        key: PEM file of the public key; None for the one that the state trusts.
        frames: folder with pictures that were learned; None for those that the page kept.
        max_forgetting: largest allowed loss of held-out accuracy after a new trunk, 0 to 1.
    """

    state: Path
    source: str
    key: Path | None
    frames: Path | None
    max_forgetting: float
    dry_run: bool


@dataclass(frozen=True)
class Plan:
    """What an offer does here.

    Attributes:
        key: public, hexadecimal.
        before: the record of the generation in use.
        goes_on: whether all that was learned stays as it is.
        frames: to learn again; empty when it goes on.
    """

    offer: Offer
    key: str
    before: Meta
    goes_on: bool
    frames: Frames

    @property
    def lost(self) -> list[str]:
        """Classes that can't be learned again here."""
        return [] if self.goes_on else [name for name in self.before.classes if name not in self.frames]


def update(options: UpdateOptions, progress: Progress) -> Document:
    """Take an offer, if it is a newer one. Until the very end the state is as it was, whatever ends the process.

    Raises:
        SignatureError: when offer or bundle are not signed by the key; DowngradeError when they are older.
        BundleError: when the bundle is damaged, or gives other results here than on the host.
        RejectedError: when the offer failed here before, or what is learned again is worse than allowed.
        LightclError: of the other kinds that ``docs/reference/exit-codes.md`` lists.
    """
    state = State(options.state)
    plan, number = make_plan(state, options), state.current_number()
    if plan is None:
        return {"outcome": "nothing new", "generation": number}
    document = {
        "outcome": "would be taken",
        "number": plan.offer.number,
        "model": plan.offer.model,
        "bytes": plan.offer.bytes,
        "same_network": plan.goes_on,
        "kept_classes": [name for name in plan.before.classes if name not in plan.lost],
        "lost_classes": plan.lost,
        "frames": sum(map(len, plan.frames.values())),
        "generation": number,
        "previous": number,
    }
    if options.dry_run:
        return document
    folder = state.folder / FOLDER
    make_folders(folder)
    with locked(folder):
        try:
            made = prepare(state, plan, options, progress)
        except (OSError, StorageError):
            if shutil.disk_usage(folder).free < plan.offer.bytes:  # what learning needs is given back
                for path in set(folder.iterdir()) - {folder / "LOCK"}:
                    remove_tree(path)
            raise
        with changing(state) as change:
            final = switch(change, plan, made)
    return {**document, "outcome": "taken", "generation": final.generation, "holdout_accuracy": final.holdout_accuracy}


def make_plan(state: State, options: UpdateOptions) -> Plan | None:
    """What the offer does here; None when its bundle is in use. Raises as :func:`update` where it must not be taken."""
    own, trusted = state.bundle(), read_trust(state.folder)
    if options.key is None and trusted is None:
        raise UsageError("name the public key that signs offers with --key PUB; it is needed the first time only")
    key = read_public_key(options.key) if options.key else str(trusted and trusted.key)
    offer = read_offer(read_from(options.source, OFFER, MAX_OFFER_BYTES), key)
    number, newest, updates = offer.number, trusted.release if trusted else 0, read_updates(state.folder)
    if number < newest:
        raise DowngradeError(f"the offer has number {number}, {newest} was taken before; an older one is refused")
    if offer.identity == own.identity:
        return None
    if trial := on_trial(state):
        raise StateError(
            f"the bundle of offer {trial.number} has not predicted yet; run lightcl-edge predict or rollback first"
        )
    if number <= updates.failed:
        raise RejectedError(f"offer {number} failed here before ({updates.reason}); a later one is taken")
    if number == newest and offer.identity in (state.meta(each).bundle_identity for each in state.numbers()):
        raise RejectedError(f"the state went back from offer {number}; a later one is taken")
    before, goes_on = state.read(bundle=own).meta, basis_of(own) == offer.basis
    frames = {} if goes_on else kept_frames(state, options.frames or state.folder / _SPOOL, before.classes)
    return Plan(offer, key, before, goes_on, frames)


def prepare(state: State, plan: Plan, options: UpdateOptions, progress: Progress) -> State:
    """A state of its own with the bundle, proved in a child process, and what is learned again."""
    folder = state.folder / FOLDER
    made = State(folder / f"{plan.offer.identity[:16]}-{plan.before.generation}")
    bundle, frames = made.folder / "bundle", made.folder / "frames"
    for other in folder.iterdir():
        if other.is_dir() and other != made.folder:
            remove_tree(other)
    if not (made.generations.is_dir() and made.exists()):  # the one is made last, the other taken at the switch
        archive = download(options.source, plan.offer, folder, progress)
        remove_tree(made.folder)
        make_folders(bundle)
        unpack(archive, bundle)
        _check(plan, Bundle.open(bundle))
        make_folders(made.generations)
        remove(archive)
    check_trust(state.folder, made.own_bundle(), plan.key)
    progress.stage("checking the bundle")
    _run(state, plan, ["verify", str(bundle)])
    if plan.frames and not made.current_number():
        progress.stage("learning kept pictures again")
        remove_tree(frames)
        lay_out(plan.frames, frames)
        strategy = ["--strategy", plan.before.strategy] if plan.before.strategy else []
        words = ["train", "--state", str(made.folder), "--data", str(frames), "--max-forgetting", "1"]
        _run(state, plan, [*words, *strategy])
    after = made.meta(made.current_number()).holdout_accuracy if made.current_number() else None
    if plan.before.holdout_accuracy is not None and after is not None:
        fall = plan.before.holdout_accuracy - after
        if fall > options.max_forgetting:
            raise _failed(state, plan, RejectedError(f"held-out accuracy would fall by {fall:.1%} (--max-forgetting)"))
    return made


def _check(plan: Plan, bundle: Bundle) -> None:
    """That the bundle is the one of the offer, whole, and on the disk."""
    if (bundle.identity, basis_of(bundle)) != (plan.offer.identity, plan.offer.basis):
        raise BundleError("the bundle is another one than its offer says; make the offer again with lightcl-host offer")
    paths = [bundle.folder / name for name in bundle.all_files()]
    for path in paths:
        with DurableFile(path, append=True) as file:
            file.sync()
    for folder in {bundle.folder, *(path.parent for path in paths)}:
        fsync_folder(folder)


def _run(state: State, plan: Plan, words: Sequence[str]) -> None:
    """Run a command on the new bundle. What shows that it can't work here is not tried again."""
    ended = run_command([*words, "--quiet"])
    try:
        ended.result()
    except LightclError as error:
        if ended.code < 0 or isinstance(error, BundleError):
            raise _failed(state, plan, BundleError(str(error))) from error
        raise


def _failed(state: State, plan: Plan, error: LightclError) -> LightclError:
    """Note that an offer failed; gives the error to raise."""
    number, reason = plan.offer.number, str(error)[:500]
    with changing(state) as change:
        write_updates(state.folder, replace(read_updates(state.folder), failed=number, reason=reason))
        change.note("an offer failed", number=number, problem=reason)
    return type(error)(f"offer {number} is not taken, the bundle before stays in use: {error}")


def switch(change: Change, plan: Plan, made: State) -> Meta:
    """The new bundle and a generation of it are in use. All that is written before ``CURRENT`` changes nothing.

    Raises StateError when the state has learned since the plan was made.
    """
    state, offer, before = change.state, plan.offer, plan.before
    if state.current_number() != before.generation:
        raise StateError("the state has learned in the meantime; run the same command again")
    own, learned, prepared = state.own_bundle(), made.current_number(), made.folder / "bundle"
    change.count(2 * offer.bytes + read_written(made.folder).total_bytes)  # downloaded, unpacked, learned
    updates, trial = read_updates(state.folder), Trial(offer.identity, offer.number, before.generation)
    write_updates(state.folder, replace(updates, trial=trial, replaced=updates.with_replaced(own.identity)))
    remember_trust(state.folder, check_trust(state.folder, Bundle.open(prepared), plan.key), own, None)
    change.add_bundle(prepared, offer.identity)
    bundle = Bundle.open(state.folder / bundle_name(offer.identity))
    if plan.goes_on:
        generation = state.read(bundle=own)
    else:
        generation = made.read(learned, bundle) if learned else base_generation(state.folder, bundle)
        # a batch that waits is learned again, because its pictures were not among those kept
        generation = replace(generation, meta=replace(generation.meta, sources=[]))
    meta = replace(
        generation.meta,
        generation=state.next_number(),
        parent=before.generation,
        created=time.time(),
        bundle_identity=offer.identity,
        grey_range=generation.meta.grey_range or before.grey_range,
        renumbered_from=None,
    )
    final = change.commit(replace(generation, meta=meta))
    change.end_task()
    change.note("updated", generation=final.generation, number=offer.number, lost=len(plan.lost), classes=plan.lost)
    remove_tree(made.folder)
    return final
