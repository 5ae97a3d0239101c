"""The processors of the Raspberry Pis, as their kernels describe them.

The emulator executes a processor's instructions but shows this machine's ``/proc/cpuinfo`` and ``/sys``. onnxruntime
reads both to choose its kernels, and crashes on an x86 description (it finds no ARM core in it). So each emulated
machine gets what the board's own kernel would show.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

CORES = 4


@dataclass(frozen=True)
class Processor:
    """One kind of core.

    Attributes:
        name: as qemu and ARM call it.
        boards: that have it.
        part: ARM's part number.
        variant: and
        revision: of the stepping on the boards.
        features: the kernel's words for what it can do.
        max_khz: clock.
    """

    name: str
    boards: str
    part: int
    variant: int
    revision: int
    features: str
    max_khz: int

    def cpuinfo(self) -> str:
        """``/proc/cpuinfo``."""
        fields = {
            "BogoMIPS": "108.00",
            "Features": self.features,
            "CPU implementer": "0x41",
            "CPU architecture": "8",
            "CPU variant": f"{self.variant:#x}",
            "CPU part": f"{self.part:#05x}",
            "CPU revision": str(self.revision),
        }
        lines = [
            [f"processor\t: {core}", *(f"{name}\t: {value}" for name, value in fields.items())] for core in range(CORES)
        ]
        return "\n\n".join("\n".join(core) for core in lines) + "\n"

    def midr(self) -> int:
        """The main identification register, as the ARM architecture lays it out."""
        return 0x41 << 24 | self.variant << 20 | 0xF << 16 | self.part << 4 | self.revision

    def describe(self, folder: Path) -> Path:
        """Write the description.

        Args:
            folder: where; made if missing.

        Returns:
            ``folder``, with ``cpuinfo`` and ``sys``.
        """
        cpus = folder / "sys" / "devices" / "system" / "cpu"
        everything = f"0-{CORES - 1}\n"
        values = dict.fromkeys(("possible", "present", "online"), everything)
        for core in range(CORES):
            values |= {
                f"cpu{core}/topology/physical_package_id": "0\n",
                f"cpu{core}/topology/core_id": f"{core}\n",
                f"cpu{core}/regs/identification/midr_el1": f"{self.midr():#018x}\n",
                f"cpu{core}/topology/core_siblings_list": everything,
                f"cpu{core}/topology/thread_siblings_list": f"{core}\n",
                f"cpu{core}/cpufreq/cpuinfo_max_freq": f"{self.max_khz}\n",
                f"cpu{core}/cpufreq/cpuinfo_min_freq": "600000\n",
            }
        for name, value in values.items():
            (cpus / name).parent.mkdir(parents=True, exist_ok=True)
            (cpus / name).write_text(value)
        (folder / "cpuinfo").write_text(self.cpuinfo())
        return folder


_V8 = "fp asimd evtstrm crc32 cpuid"
_V82 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp"
PROCESSORS = {
    processor.name: processor
    for processor in (
        Processor("cortex-a53", "Pi Zero 2 W, Pi 3", 0xD03, 0, 4, _V8, 1_000_000),
        Processor("cortex-a72", "Pi 4", 0xD08, 0, 3, _V8, 1_800_000),
        Processor("cortex-a76", "Pi 5", 0xD0B, 4, 1, _V82, 2_400_000),
    )
}
