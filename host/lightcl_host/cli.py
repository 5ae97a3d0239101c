"""The program ``lightcl-host``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lightcl_edge.console import Command, run_program

_DESCRIPTION = "Makes bundles for devices that keep learning: finds where to cut a network, parts and checks it."


def _commands() -> Iterable[Command]:
    from lightcl_host.commands.cuts import CutsCommand
    from lightcl_host.commands.export import ExportCommand
    from lightcl_host.commands.keygen import KeygenCommand
    from lightcl_host.commands.prepare import PrepareCommand

    return (PrepareCommand(), ExportCommand(), CutsCommand(), KeygenCommand())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: arguments without the program's name; ``sys.argv`` by default.

    Returns:
        The exit code.
    """
    return run_program("lightcl-host", _DESCRIPTION, _commands, argv)
