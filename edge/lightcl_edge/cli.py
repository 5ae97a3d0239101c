"""The program ``lightcl-edge``: its commands are found by name and imported only when needed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module

from lightcl_edge.console.program import Command, run_program

#: Commands of this package: name -> class in ``lightcl_edge.commands.NAME``.
_COMMANDS = {
    "train": "TrainCommand",
    "predict": "PredictCommand",
    "evaluate": "EvaluateCommand",
    "status": "StatusCommand",
    "history": "HistoryCommand",
    "rollback": "RollbackCommand",
    "forget": "ForgetCommand",
    "watch": "WatchCommand",
    "verify": "VerifyCommand",
    "doctor": "DoctorCommand",
    "completion": "CompletionCommand",
}
ABOUT = "Teach a device new classes where it is: train a light head on the outputs of a frozen trunk."


def _load_commands(argv: Sequence[str]) -> Iterable[Command]:
    """All commands, or only the one that is called: starting fast matters on a small board."""
    called = [argument for argument in argv if not argument.startswith("-")][:1]
    plugins: dict[str, str] = {}
    if not called or called[0] not in _COMMANDS:
        from lightcl_edge.machine.plugins import entry_points

        plugins = entry_points("lightcl_edge.commands")
    places = {name: f"lightcl_edge.commands.{name}:{kind}" for name, kind in _COMMANDS.items()} | plugins
    for name in called if called and called[0] in places else places:
        module, _, kind = places[name].partition(":")
        yield getattr(import_module(module), kind)()


def all_commands() -> Iterable[Command]:
    """Every command, those of other rooms too."""
    return _load_commands([])


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``lightcl-edge``.

    Args:
        argv: arguments without the program's name; ``sys.argv`` by default.

    Returns:
        The exit code.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    return run_program("lightcl-edge", ABOUT, lambda: _load_commands(arguments), arguments)


if __name__ == "__main__":
    sys.exit(main())
