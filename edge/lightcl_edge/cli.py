"""The program ``lightcl-edge``: its commands are found by name and imported only when needed."""

import sys
from collections.abc import Iterator, Sequence
from importlib import import_module

from lightcl_edge.console.program import Command, run_program, words_of

_COMMANDS = {
    "train": "lightcl_edge.commands.train:TrainCommand",
    "predict": "lightcl_edge.commands.predict:PredictCommand",
    "evaluate": "lightcl_edge.commands.evaluate:EvaluateCommand",
    "status": "lightcl_edge.commands.status:StatusCommand",
    "history": "lightcl_edge.commands.history:HistoryCommand",
    "rollback": "lightcl_edge.commands.rollback:RollbackCommand",
    "forget": "lightcl_edge.commands.forget:ForgetCommand",
    "rename": "lightcl_edge.commands.rename:RenameCommand",
    "export": "lightcl_edge.commands.export:ExportCommand",
    "share": "lightcl_edge.commands.share:ShareCommand",
    "merge": "lightcl_edge.commands.merge:MergeCommand",
    "update": "lightcl_edge.commands.update:UpdateCommand",
    "watch": "lightcl_edge.commands.watch:WatchCommand",
    "serve": "lightcl_edge.commands.serve:ServeCommand",
    "verify": "lightcl_edge.commands.verify:VerifyCommand",
    "doctor": "lightcl_edge.commands.doctor:DoctorCommand",
    "completion": "lightcl_edge.commands.completion:CompletionCommand",
}
ABOUT = "Teach a device new classes where it is: train a light head on the outputs of a frozen trunk."


def commands_for(words: Sequence[str]) -> Iterator[Command]:
    """The command that is called, or all of them: starting fast matters on a small board."""
    called = next((word for word in words if not word.startswith("-")), None)
    places = _COMMANDS
    if called not in _COMMANDS:
        from lightcl_edge.machine.plugins import entry_points

        places = _COMMANDS | entry_points("lightcl_edge.commands")
    for name in [called] if called in places else places:
        module, _, kind = places[name].partition(":")
        yield getattr(import_module(module), kind)()


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``lightcl-edge``."""
    words = words_of(argv)
    return run_program("lightcl-edge", ABOUT, commands_for(words), words)


if __name__ == "__main__":
    sys.exit(main())
