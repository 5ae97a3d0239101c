"""``python profiles/tools/startup.py``: how long importing and ``--help`` take, beside a bare Python."""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from statistics import median

from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, table
from lightcl_edge.errors import ExitCode
from one_command import run_command

_PYTHON = [sys.executable, "-s", "-c"]
_HELP = "import sys; sys.argv = ['lightcl-edge', '--help']; from lightcl_edge.cli import main; sys.exit(main())"
#: What is measured, and the most milliseconds it may take (all but the interpreter's own start).
CASES = {
    "python": ([*_PYTHON, "pass"], None),
    "import lightcl_edge": ([*_PYTHON, "import lightcl_edge"], 50.0),
    "lightcl-edge --help": ([*_PYTHON, _HELP], 150.0),
}


class StartupCommand(Command):
    """Time starting, the median of several processes that take turns.

    ``import lightcl_edge`` is the time that it adds to a bare Python; ``--help`` is timed from start to end. The exit
    code is 5 when one takes too long (50 and 150 ms).
    """

    name = "startup"
    example = "python profiles/tools/startup.py --runs 21"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--runs", type=int, default=21, help="processes of each kind (default: 21)")

    def run(self, args: argparse.Namespace) -> Document:
        times: dict[str, list[float]] = {name: [] for name in CASES}
        for _ in range(args.runs):
            for name, (command, _) in CASES.items():
                times[name].append(_milliseconds(command))
        bare = median(times["python"])
        rows = []
        for name, (_, most) in CASES.items():
            found = median(times[name])
            counted = found - bare if name.startswith("import") else found
            rows.append(
                {
                    "what": name,
                    "milliseconds": round(found, 1),
                    "ratio_to_python": round(found / bare, 2),
                    "counted_milliseconds": round(counted, 1),
                    "most_milliseconds": most,
                    "within": most is None or counted <= most,
                }
            )
        return {"startup": rows, "runs": args.runs}

    def render(self, document: Document) -> str:
        rows = []
        for each in document["startup"]:
            most, limited = each["most_milliseconds"], ["", ""]
            if most is not None:
                limited = [f"{each['counted_milliseconds']:.1f} ms", f"{most:.0f} ms"]
            rows.append([each["what"], f"{each['milliseconds']:.1f} ms", f"{each['ratio_to_python']:.2f}", *limited])
        return table(rows, ["what", "median", "ratio to Python", "counted", "at most"])

    def exit_code(self, document: Document) -> ExitCode:
        return ExitCode.DONE if all(each["within"] for each in document["startup"]) else ExitCode.DOES_NOT_FIT


def _milliseconds(command: Sequence[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return 1000 * (time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(run_command(StartupCommand()))
