"""The program ``lightcl-host``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from lightcl_edge.console.program import Command, run_program

DESCRIPTION = "Makes bundles for devices that keep learning: finds where to cut a network, parts and checks it."


def all_commands() -> Iterable[Command]:
    """Every command of the program."""
    from lightcl_host.commands.analyze import AnalyzeCommand
    from lightcl_host.commands.benchmark import BenchmarkCommand
    from lightcl_host.commands.completion import HostCompletionCommand
    from lightcl_host.commands.cost import CostCommand
    from lightcl_host.commands.cuts import CutsCommand
    from lightcl_host.commands.export import ExportCommand
    from lightcl_host.commands.keygen import KeygenCommand
    from lightcl_host.commands.prepare import PrepareCommand
    from lightcl_host.commands.pretrain import PretrainCommand
    from lightcl_host.commands.report import ReportCommand

    return (
        PrepareCommand(),
        AnalyzeCommand(),
        ExportCommand(),
        CutsCommand(),
        CostCommand(),
        BenchmarkCommand(),
        PretrainCommand(),
        ReportCommand(),
        KeygenCommand(),
        HostCompletionCommand(),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        argv: arguments without the program's name; ``sys.argv`` by default.

    Returns:
        The exit code.
    """
    return run_program("lightcl-host", DESCRIPTION, all_commands, argv)
