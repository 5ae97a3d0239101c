"""Device profiles: what a board has, and where each figure comes from.

A profile is a TOML file. Those of known boards lie beside this module. ``this-machine`` is measured when it is loaded.
"""

import difflib
import os
import sys
from dataclasses import dataclass, field
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import psutil

from lightcl_edge.bundle.manifest import PROVIDERS
from lightcl_edge.errors import UsageError
from lightcl_edge.files.records import read_record
from lightcl_edge.machine.description import describe_machine
from lightcl_edge.machine.memory_limits import MEMORY_RESERVE_BYTES

THIS_MACHINE = "this-machine"
_SUFFIX = ".toml"
_MAX_BYTES = 2**16
_KINDS = ("measured", "measured elsewhere", "estimate")
#: Features of the processor that matter to onnxruntime's and torch's kernels, as the kernel names them.
_FEATURES = ("asimd", "fphp", "asimddp", "sve", "i8mm", "bf16", "avx2", "avx512f", "avx512_vnni", "amx_int8")


@dataclass(frozen=True)
class Memory:
    """Bytes, and where the figure comes from."""

    bytes: int
    source: str


@dataclass(frozen=True)
class UsableMemory:
    """What a training may take in all, after the system and other programs.

    ``kind`` is ``measured``, ``measured elsewhere`` or ``estimate``.
    """

    bytes: int
    kind: str
    source: str


@dataclass(frozen=True)
class Cores:
    """How many processor cores, and where the figure comes from."""

    count: int
    source: str


@dataclass(frozen=True)
class InstructionSet:
    """The processor's architecture, and its features beyond that."""

    name: str
    features: list[str]
    source: str


@dataclass(frozen=True)
class Accelerators:
    """What computes besides the processor.

    ``providers`` may compute the trunk there, in the order to try (``tensorrt``, ``cuda``, ``cpu``). Bundles made for
    this device carry them.
    """

    names: list[str]
    source: str
    providers: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Engines:
    """Which engines run there, their versions (``note``), and how this is known."""

    ort: bool
    torch: bool
    note: str
    source: str


@dataclass(frozen=True)
class DeviceProfile:
    """A board; ``page_size`` is that of its kernel's memory pages."""

    name: str
    title: str
    physical_memory: Memory
    usable_memory: UsableMemory
    cores: Cores
    page_size: Memory
    instruction_set: InstructionSet
    accelerators: Accelerators
    engines: Engines


def profile_names() -> list[str]:
    """Names of the profiles that come with this package, in alphabetical order."""
    folder = files("lightcl_profiler").joinpath("devices")
    return sorted(entry.name.removesuffix(_SUFFIX) for entry in folder.iterdir() if entry.name.endswith(_SUFFIX))


def load_profile(name: str) -> DeviceProfile:
    """A profile by its name in :func:`profile_names`, or from a path ending in ``.toml``.

    Raises a UsageError when there is none, or the file is not a profile.
    """
    if name == THIS_MACHINE:
        return measure_this_machine()
    if name.endswith(_SUFFIX):
        return parse_profile(_read(Path(name)), name)
    known = profile_names()
    if name not in known:
        near = [other for other in known if other.startswith(name)] or difflib.get_close_matches(name, known, 2, 0.4)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise UsageError(f"no device {name!r}; {hint}expected one of {', '.join(known)}, or a path ending in .toml")
    content = files("lightcl_profiler").joinpath("devices", name + _SUFFIX).read_text(encoding="utf-8")
    return parse_profile(content, name)


def _read(path: Path) -> str:
    if not path.is_file():
        raise UsageError(f"no device profile at {path}; expected a TOML file such as those in profiles/devices")
    if path.stat().st_size > _MAX_BYTES:
        raise UsageError(f"{path} has {path.stat().st_size} bytes, expected a device profile of at most {_MAX_BYTES}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not text ({error}); expected a TOML file") from error


def parse_profile(content: str, where: str) -> DeviceProfile:
    """Read a profile strictly; a UsageError names the key, the value found and what was expected.

    ``where`` is what to call the content in messages.
    """
    if sys.version_info >= (3, 11):
        import tomllib
    else:  # pragma: no cover - the host extra brings it for Python 3.10
        import tomli as tomllib
    try:
        document = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"device profile {where} is not TOML: {error}") from error
    if document.get("measured") is True and document.get("name") == THIS_MACHINE:
        return measure_this_machine()
    profile = read_record(
        DeviceProfile, document, f"device profile {where}", UsageError, "the keys of profiles/devices"
    )
    _check(profile, where)
    return profile


def _check(profile: DeviceProfile, where: str) -> None:
    usable, physical = profile.usable_memory, profile.physical_memory.bytes
    if not 0 < usable.bytes <= physical:
        raise UsageError(
            f"device profile {where}: usable_memory.bytes is {usable.bytes}, expected 1 to physical_memory {physical}"
        )
    if usable.kind not in _KINDS:
        raise UsageError(f"device profile {where}: usable_memory.kind is {usable.kind!r}, expected one of {_KINDS}")
    if profile.cores.count < 1 or profile.page_size.bytes < 1:
        raise UsageError(f"device profile {where}: cores and page_size are counts, expected 1 or more")
    if not set(profile.accelerators.providers) <= set(PROVIDERS):
        raise UsageError(
            f"device profile {where}: accelerators.providers is {profile.accelerators.providers}, "
            f"expected some of {', '.join(PROVIDERS)}"
        )
    if not (profile.engines.ort or profile.engines.torch):
        raise UsageError(f"device profile {where}: no engine runs there; expected engines.ort or engines.torch = true")


def measure_this_machine() -> DeviceProfile:
    """This machine, every figure measured: the memory that is free now, the cores that this process may use."""
    machine = describe_machine()
    free = int(psutil.virtual_memory().available)
    limit = machine.cgroup_limit_bytes
    usable = max(1, min(free, machine.ram_bytes, limit if limit is not None else free) - MEMORY_RESERVE_BYTES)
    bound = "" if limit is None else f", at most the control group's limit of {limit}"
    return DeviceProfile(
        name=THIS_MACHINE,
        title=machine.board or machine.cpu_model,
        physical_memory=Memory(machine.ram_bytes, "sysconf"),
        usable_memory=UsableMemory(usable, "measured", f"MemAvailable less 16 MiB{bound}"),
        cores=Cores(machine.cores, "sched_getaffinity"),
        page_size=Memory(os.sysconf("SC_PAGE_SIZE"), "sysconf"),
        instruction_set=InstructionSet(machine.architecture, _processor_features(), "/proc/cpuinfo"),
        accelerators=Accelerators(_accelerators(), "/dev"),
        engines=Engines(
            ort=find_spec("onnxruntime") is not None,
            torch=find_spec("torch") is not None,
            note="lightcl-edge doctor tries each in a process of its own",
            source="installed packages",
        ),
    )


def _processor_features() -> list[str]:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    flags = next((line.partition(":")[2].split() for line in lines if line.startswith(("flags", "Features"))), [])
    return [name for name in _FEATURES if name in flags]


def _accelerators() -> list[str]:
    marks = {"/dev/nvidia0": "NVIDIA GPU", "/dev/nvhost-gpu": "NVIDIA Tegra GPU"}
    return [title for path, title in marks.items() if Path(path).exists()]
