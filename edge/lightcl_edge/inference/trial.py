"""The first start of a bundle that came over the air.

A start is counted on the disk before it begins: one that ends the process, or in a power cut, has failed. After
``MAX_STARTS`` of them, or one that raises an error, the state goes back to the bundle before.
"""

from contextlib import suppress
from dataclasses import replace

from lightcl_edge.errors import StateError
from lightcl_edge.state import journal
from lightcl_edge.state.lock import locked
from lightcl_edge.state.pointer import Pointer, write_pointer
from lightcl_edge.state.state import State
from lightcl_edge.state.updates import Trial, read_updates, write_updates

MAX_STARTS = 3
#: In the state: where updates are prepared. Its lock is that of trials too.
FOLDER = "update"
_WAIT_SECONDS = 5.0


def on_trial(state: State) -> Trial | None:
    """The trial of the bundle in use; None when that has predicted or knows no class, or another one is in use."""
    trial, number = read_updates(state.folder).trial, 0
    if trial is not None and trial.identity == state.bundle_identity():
        number = state.current_number()
    return trial if number and state.meta(number).classes else None


def begin_start(state: State) -> Trial | None:
    """Count a start; None when there is nothing to try, or the state has gone back.

    Who may not write to the state neither counts nor decides.
    """
    with suppress(StateError):
        if on_trial(state) is None:
            return None
        with locked(state.folder / FOLDER, _WAIT_SECONDS):
            if (trial := on_trial(state)) is None:
                return None
            if trial.starts >= MAX_STARTS:
                _go_back(state, trial, f"its process ended in each of {trial.starts} starts")
                return None
            trial = replace(trial, starts=trial.starts + 1)
            write_updates(state.folder, replace(read_updates(state.folder), trial=trial))
            return trial
    return None


def end_start(state: State, trial: Trial, problem: str | None = None) -> bool:
    """The start is over; gives whether the state has gone back because of a problem."""
    with suppress(StateError), locked(state.folder / FOLDER, _WAIT_SECONDS):
        if (now := on_trial(state)) is None or now.identity != trial.identity:
            return problem is not None
        if problem is not None:
            _go_back(state, trial, problem)
            return True
        write_updates(state.folder, replace(read_updates(state.folder), trial=None))
        journal.note(state.folder, "the new bundle predicts", number=trial.number)
    return False


def _go_back(state: State, trial: Trial, problem: str) -> None:
    """``CURRENT`` moves first: after that the trial is over, whatever the record says."""
    with locked(state.folder, _WAIT_SECONDS):
        state.read(trial.back)
        write_pointer(state.folder, Pointer(trial.back, state.newest()))
        updates = replace(read_updates(state.folder), trial=None, failed=trial.number, reason=problem[:500])
        write_updates(state.folder, updates)
        journal.note(state.folder, "went back to the bundle before", generation=trial.back, problem=updates.reason)
