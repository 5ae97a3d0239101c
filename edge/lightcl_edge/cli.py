"""The program ``lightcl-edge``: its commands are found by name and imported only when needed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from importlib import import_module

from lightcl_edge.console import Command, run_program

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
}


def _load_commands(argv: Sequence[str]) -> Iterable[Command]:
    """All commands, or only the one that is called: starting fast matters on a small board."""
    called = [argument for argument in argv if not argument.startswith("-")][:1]
    plugins = {}
    if not called or called[0] not in _COMMANDS:
        from importlib.metadata import entry_points  # 4 MiB, which a training would carry to its end

        plugins = {entry.name: entry for entry in entry_points(group="lightcl_edge.commands")}
    known = [*_COMMANDS, *plugins]
    for name in called if called and called[0] in known else known:
        if name in _COMMANDS:
            kind = getattr(import_module(f"lightcl_edge.commands.{name}"), _COMMANDS[name])
        else:
            kind = plugins[name].load()
        yield kind()


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``lightcl-edge``.

    Args:
        argv: arguments without the program's name; ``sys.argv`` by default.

    Returns:
        The exit code.
    """
    arguments = sys.argv[1:] if argv is None else list(argv)
    about = "Teach a device new classes where it is: train a light head on the outputs of a frozen trunk."
    return run_program("lightcl-edge", about, lambda: _load_commands(arguments), arguments)


if __name__ == "__main__":
    sys.exit(main())
