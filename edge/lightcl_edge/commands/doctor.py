"""``lightcl-edge doctor``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lightcl_edge.commands.arguments import add_provider
from lightcl_edge.console.program import Command
from lightcl_edge.console.text import Document, format_bytes
from lightcl_edge.errors import ExitCode

if TYPE_CHECKING:
    from lightcl_edge.bundle.manifest import Manifest
    from lightcl_edge.planning.plan import Plan

ENGINES = ("ort", "torch")


class DoctorCommand(Command):
    """Say what this machine is, which engines really start here, and what they need.

    Each engine is tried in a process of its own: one that was built for another processor crashes only its own
    process. With a bundle, the doctor also says what training it needs with each engine.
    """

    name = "doctor"
    example = "lightcl-edge doctor --bundle bundle"

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--bundle", type=Path, help="also plan a training of this bundle")
        parser.add_argument(
            "--engine", choices=("all", *ENGINES), default="all", help="try this one only; torch takes 200 MiB to try"
        )
        add_provider(parser)

    def run(self, args: argparse.Namespace) -> Document:
        from dataclasses import asdict

        from lightcl_edge.bundle.bundle import Bundle
        from lightcl_edge.inference.providers import foresee
        from lightcl_edge.learning.engines.trial import try_engine
        from lightcl_edge.machine.description import describe_machine
        from lightcl_edge.machine.health import look
        from lightcl_edge.machine.memory_limits import available_bytes

        manifest = Bundle.open(args.bundle).manifest if args.bundle else None
        available = available_bytes()
        engines: Document = {}
        for name in ENGINES if args.engine == "all" else (args.engine,):
            args.progress.note(f"trying {name}")
            trial = try_engine(name)
            engines[name] = asdict(trial)
            if manifest is None:
                continue
            if name == "ort":
                engines[name]["trunk_provider"] = asdict(foresee(args.provider, manifest, trial.devices))
            if name == "ort" and not manifest.training_step:
                engines[name]["plan"] = None
                continue
            first, last = _plans(manifest, name)
            fits = trial.works and first.peak_bytes <= available
            engines[name]["plan"] = {**first.document(), "fits": fits, "last_task_peak_bytes": last.peak_bytes}
        return {
            "machine": {**asdict(describe_machine()), "available_bytes": available},
            "health": asdict(look()),
            "engines": engines,
        }

    def render(self, document: Document) -> str:
        from lightcl_edge.machine.cooling import health_line

        machine = document["machine"]
        lines = [
            _verdict(document["engines"]),
            f"  {machine['board'] or machine['cpu_model']}, {machine['architecture']}, {machine['cores']} cores, "
            f"Python {machine['python']}, {machine['kernel']}",
            f"  memory {format_bytes(machine['ram_bytes'])}, a training may use "
            f"{format_bytes(machine['available_bytes'])}; pages of {format_bytes(machine['page_size_bytes'])}",
        ]
        if line := health_line(document["health"]):
            lines.append(f"  {line}")
        for name, engine in document["engines"].items():
            lines += _engine_lines(name, engine)
        return "\n".join(lines)

    def exit_code(self, document: Document) -> ExitCode:
        """8 when no engine works."""
        return ExitCode.DONE if any(e["works"] for e in document["engines"].values()) else ExitCode.NO_ENGINE


def _verdict(engines: Document) -> str:
    """Whether something can be trained here."""
    working = {name: engine for name, engine in engines.items() if engine["works"]}
    if not any("plan" in engine for engine in engines.values()):
        return f"engines that work here: {', '.join(working)}" if working else "no engine works here"
    fits = " or ".join(name for name, engine in working.items() if engine["plan"] and engine["plan"]["fits"])
    return f"this bundle can be trained here with {fits}" if fits else "no engine can train this bundle here"


def _engine_lines(name: str, engine: Document) -> list[str]:
    """Whether an engine works, and what the bundle needs with it."""
    cost = engine["import_peak_rss_bytes"]
    loaded = "" if cost is None else f", {format_bytes(cost)} once loaded"
    lines = [f"  {name:<6} {'works' if engine['works'] else 'does not work'}: {engine['reason']}{loaded}"]
    details = []
    if engine["devices"]:
        details.append(f"computes on {', '.join(engine['devices'])}")
    if provider := engine.get("trunk_provider"):
        details.append(f"this bundle's trunk: on {provider['name']} ({provider['reason']})")
    if engine["works"] and "plan" in engine:
        details += _plan_lines(engine["plan"])
    return lines + [f"         {line}" for line in details]


def _plan_lines(plan: Document | None) -> list[str]:
    if plan is None:
        return ["the bundle carries no training_step graphs for it"]
    return [
        f"this bundle needs about {format_bytes(plan['peak_bytes'])}: {'fits' if plan['fits'] else 'does not fit'}",
        f"and up to {format_bytes(plan['last_task_peak_bytes'])} in later tasks, when all its classes are learned: "
        "a --memory-budget should allow that",
    ]


def _plans(manifest: Manifest, engine: str) -> tuple[Plan, Plan]:
    """A training with the bundle's own settings: the first, and one when the state holds as much as it ever will."""
    from lightcl_edge.learning.strategies.choice import (
        choose_strategy,
        full_crowd,
        full_state,
        plan_for,
        planned_patterns,
        recommended_for,
    )

    defaults = recommended_for(manifest.defaults, choose_strategy(manifest.defaults.strategy).name)
    patterns = planned_patterns(defaults.strategy, defaults)
    common = defaults.strategy, manifest, engine, defaults.batch_size, patterns, 0
    return plan_for(*common), plan_for(*common, full_state(manifest), full_crowd(manifest))
