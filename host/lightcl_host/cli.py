"""The program ``lightcl-host``."""

from collections.abc import Iterator, Sequence

from lightcl_edge.console.program import Command, run_program

ABOUT = "Makes bundles for devices that keep learning: finds where to cut a network, parts and checks it."


def all_commands() -> Iterator[Command]:
    """Every command of the program."""
    from lightcl_edge.commands.completion import CompletionCommand
    from lightcl_host.commands.analyze import AnalyzeCommand
    from lightcl_host.commands.benchmark import BenchmarkCommand
    from lightcl_host.commands.cost import CostCommand
    from lightcl_host.commands.cuts import CutsCommand
    from lightcl_host.commands.export import ExportCommand
    from lightcl_host.commands.fleet import FleetCommand
    from lightcl_host.commands.keygen import KeygenCommand
    from lightcl_host.commands.offer import OfferCommand
    from lightcl_host.commands.prepare import PrepareCommand
    from lightcl_host.commands.pretrain import PretrainCommand
    from lightcl_host.commands.report import ReportCommand

    yield PrepareCommand()
    yield AnalyzeCommand()
    yield ExportCommand()
    yield CutsCommand()
    yield CostCommand()
    yield BenchmarkCommand()
    yield PretrainCommand()
    yield ReportCommand()
    yield KeygenCommand()
    yield OfferCommand()
    yield FleetCommand()
    yield CompletionCommand()


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``lightcl-host``."""
    return run_program("lightcl-host", ABOUT, all_commands(), argv)
