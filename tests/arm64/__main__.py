"""The command: makes the image's file system, runs it as each processor, compares, writes the report."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from arm64 import emulator, instructions, report
from arm64.exercise import Record, exercise, look
from arm64.inputs import CLASSES, TRAINING, build_wheel, content_of, make_inputs
from arm64.judge import judge
from arm64.layers import SUITE, Layers, StepFailedError, digest
from arm64.machines import EmulatedMachine, Machine, MachineFailedError, NativeMachine
from arm64.processors import PROCESSORS
from arm64.wheels import NotPinnedError, fetch

CHECKOUT = Path(__file__).parents[2]
_TORCH_ON = "cortex-a72"
Document = dict[str, Any]


def say(line: str) -> None:
    """For the person who waits."""
    print(line, file=sys.stderr, flush=True)


class Run:
    """One run of the test over a cache.

    Args:
        cache: keeps layers, inputs and results, so that a run goes on where one before it stopped.
        torch: whether the image with torch is tested too.
    """

    def __init__(self, cache: Path, *, torch: bool) -> None:
        self._cache, self._torch = cache, torch
        wheel = build_wheel(CHECKOUT, cache)
        self.content, self._wheel = content_of(wheel), wheel
        self._inputs = make_inputs(cache, self.content, say)
        scripts = CHECKOUT / "edge" / "docker"
        names = ("pyproject.toml", "constraints.txt", "constraints-arm64.txt")
        self._layers = Layers(cache, scripts, [CHECKOUT / name for name in names], say)
        steps = [
            Path(__file__).parent / f"{name}.py"
            for name in ("exercise", "probe", "often", "inputs", "machines", "processors", "instructions/__init__")
        ] + [instructions.SOURCE]
        self._key = digest([self.content, *steps])
        self._counting = instructions.build(cache / "counting")
        self._reference: dict[str, tuple[Document, Path]] = {}

    @property
    def total(self) -> int:
        """How many machines there are."""
        return len(PROCESSORS) * (2 if self._torch else 1)

    def machines(self) -> Iterator[Document]:
        """All emulated machines, one after the other.

        Yields:
            What each did and how far that is from this machine.
        """
        for torch in (False, True) if self._torch else (False,):
            image, key = self._image(torch=torch)
            for processor in PROCESSORS.values():
                name = f"{processor.name}{'-torch' if torch else ''}"
                say(f"== {name}")
                record, work = self._record(name, key)
                machine = EmulatedMachine(self._inputs, work, image, processor, self._counting)
                about = {"processor": processor.name, "boards": processor.boards, "image": f"TORCH={int(torch)}"}
                if torch and processor.name != _TORCH_ON:
                    yield {**about, "steps": report.public({"doctor": look(machine, record)})}
                    continue
                engine = "torch" if torch else "ort"
                yield {**about, "engine": engine, **self._compared(machine, record, engine)}

    def reference(self) -> dict[str, Document]:
        """This machine's results by engine."""
        return {engine: report.public(results) for engine, (results, _) in self._reference.items()}

    def _image(self, *, torch: bool) -> tuple[Path, str]:
        sys.path.insert(0, str(CHECKOUT / "edge" / "docker"))
        import pins

        needed = pins.requirements(CHECKOUT / "pyproject.toml", torch=torch)
        joined = pins.join([CHECKOUT / "constraints.txt", CHECKOUT / "constraints-arm64.txt"])
        packages = fetch(needed, joined, self._cache / "wheels")
        layer = self._layers.dependencies(self._cache / "wheels", packages, torch=torch)
        return self._layers.image(layer, self._wheel, self.content, torch=torch)

    def _record(self, name: str, key: str) -> tuple[Record, Path]:
        work = self._cache / "machines" / name
        return Record(work, digest([self._key, key]), say), work

    def _compared(self, machine: Machine, record: Record, engine: str) -> Document:
        steps = exercise(machine, record, engine)
        if engine not in self._reference:
            say(f"== this machine, engine {engine}")
            versions = "".join(f"{name} {version(name)}" for name in ("numpy", "onnxruntime", "pillow", "torch"))
            own, work = self._record(f"x86-64-{engine}", versions)
            self._reference[engine] = exercise(NativeMachine(self._inputs, work), own, engine), work
        drifts = judge(steps, machine.work, *self._reference[engine])
        for drift in drifts:
            say(f"{'ok    ' if drift.passes else 'FAILED'} {drift.what}: {drift.found:.3g} {drift.unit}")
        return {"steps": report.public(steps), "drift": [drift.document() for drift in drifts]}


def main() -> int:
    """Run, write, and say whether it passed: 0, or 1 when something failed, 2 when this machine can't emulate."""
    parser = argparse.ArgumentParser(prog="python -m arm64", description=__doc__)
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps everything between runs (4 GB)")
    parser.add_argument("--out", type=Path, required=True, help="where the report goes")
    parser.add_argument("--without-torch", action="store_true", help="test only the image without torch")
    args = parser.parse_args()
    machines: list[Document] = []
    document: Document = {}
    try:
        emulator.require()
        args.cache.mkdir(parents=True, exist_ok=True)
        run = Run(args.cache.resolve(), torch=not args.without_torch)
        for machine in run.machines():
            machines.append(machine)
            document = {"command": report.COMMAND, "total": run.total, "about": _about(machines, run.content)}
            document |= {"reference": run.reference(), "machines": machines}
            report.write(document, args.out)
    except emulator.CantEmulateError as error:
        say(f"error: {error}")
        return 2
    except (StepFailedError, MachineFailedError, NotPinnedError, subprocess.CalledProcessError) as error:
        say(f"error: {error}")
        return 1
    say(f"report: {args.out / 'report.md'}")
    return 0 if report.passes(document) else 1


def _about(machines: list[Document], content: str) -> Document:
    look_at = machines[0]["steps"]["doctor"]
    return {
        "lightcl-edge": look_at["packages"]["lightcl-edge"],
        "wheel": content,
        "debian": SUITE,
        "python": look_at["python"],
        "qemu": emulator.emulator_version(),
        "memory": "what the kernel counts here includes the emulator",
        "network": "EfficientNet-Lite0 (ImageNet weights) at 64 pixels, trunk in int8 and in fp32",
        "task": f"{CLASSES} classes of handwritten digits as JPEG files, {TRAINING} images each, 2 epochs, one thread",
    }


if __name__ == "__main__":
    sys.exit(main())
