"""Memory goes back to the system: garbage in cycles, freed heap, clean pages of libraries and no others."""

from __future__ import annotations

import json
import subprocess
import sys

from lightcl_edge.machine import freeing

#: Runs in a process of its own, where the tests have not replaced ``give_back``.
PROGRAM = """
import json
import weakref
from pathlib import Path

import numpy as np
import onnxruntime

from lightcl_edge.machine.freeing import give_back


class Held:
    pass


def resident():
    fields = dict(line.split(":") for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:])
    return {name: int(fields[name].split()[0]) for name in ("Rss", "Anonymous")}


pieces = [np.ones(2000) for _ in range(4000)]  # below what is mapped one by one: the heap keeps them when freed
last = pieces[-1]  # at the heap's end, so that nothing below it goes back when it is freed
cycle = Held()
cycle.self, gone = cycle, weakref.ref(cycle)
del pieces, cycle
before = resident()
give_back()
after = resident()
assert np.dot(last, last) == 2000  # what was dropped is read again
print(json.dumps({"before": before, "after": after, "cycle": gone() is not None}))
"""


def test_garbage_heap_and_library_pages_go():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    dropped = {name: found["before"][name] - found["after"][name] for name in ("Rss", "Anonymous")}
    assert not found["cycle"]
    assert dropped["Anonymous"] > 40 * 1024, found  # of the 62 MiB in pieces
    assert dropped["Rss"] - dropped["Anonymous"] > 5 * 1024, found  # of the libraries' own files


def test_changed_and_writable_mappings_stay():
    def mapping(start, access, inode, changed_kib=0):
        kib = {"Rss": 8, "Anonymous": changed_kib, "Locked": 0}
        head = f"{start:x}-{start + 0x2000:x} {access} 00000000 08:01 {inode}    /lib/some.so"
        return "\n".join([head, *(f"{name}: {size:>12} kB" for name, size in kib.items()), "VmFlags: rd mr"])

    smaps = [
        mapping(0x10000, "r-xp", 7),
        mapping(0x20000, "rw-p", 7),
        mapping(0x30000, "r--p", 7, 4),
        mapping(0x50000, "r--p", 0),
        mapping(0x60000, "r--s", 7),
        mapping(0x80000, "r--p", 7),
    ]
    found = {line.partition("-")[0]: unchanged for line, unchanged in freeing._look("\n".join(smaps))}
    assert found == {"10000": True, "30000": False, "80000": True}
