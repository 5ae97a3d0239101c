"""Runs a program that has a single command, whose name need not be typed."""

import sys

from lightcl_edge.console.program import Command, run_program


def run_command(command: Command) -> int:
    """Parse ``sys.argv`` and run the command; gives the exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] != [command.name]:
        arguments = [command.name, *arguments]
    about = (command.__doc__ or command.name).splitlines()[0]
    return run_program(f"lightcl-{command.name}", about, [command], arguments)
