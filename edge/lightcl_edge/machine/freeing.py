"""Give memory back to the system."""

import ctypes
import gc
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def trim_heap() -> None:
    """Return free heap pages to the system, which takes a millisecond."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def give_back() -> None:
    """Collect what became garbage lately, and return free heap pages and unused library pages to the system."""
    gc.collect(1)  # sessions and arrays are in no cycles; going through every object takes 25 ms each time
    trim_heap()
    if "torch" not in sys.modules:  # its hundreds of mappings take longer to go through than they are worth
        drop_library_pages()


#: Blocks from this size on are mapped and unmapped one by one, so that freed activations leave the process. Smaller
#: ones stay in the heap. Returning those too (64 KiB for both) saves 6 to 9 MiB and makes a step 1.5 to 2.7 times
#: slower. Returning none makes ResNet-18's layer4 20 MiB larger and 1.2 times faster. Measured with bench_step and
#: the ort engine.
MMAP_THRESHOLD_BYTES = 2**20
TRIM_THRESHOLD_BYTES = 64 * 2**20
#: While a network is opened, copies of its weights follow each other. With 1 MiB it takes 7 MiB more, 20 ms less.
OPENING_THRESHOLD_BYTES = 2**18
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def return_freed_memory(block_bytes: int = MMAP_THRESHOLD_BYTES) -> None:
    """Tell the C library to give freed blocks of this size back at once, if it can (musl and macOS can't).

    Otherwise it changes by itself which blocks it gives back, and peaks differ from run to run.
    """
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, block_bytes)
        library.mallopt(_M_TRIM_THRESHOLD, TRIM_THRESHOLD_BYTES)


_MADV_DONTNEED = 4
#: Private mappings of files that can't be written: the whole line of ``/proc/self/maps``, their start and end.
_LIBRARY = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) r-.p \S+ \S+ [1-9]\d*\b.*$", re.MULTILINE)
#: In ``/proc/self/smaps``: such a line, and how much of the mapping was changed.
_CHANGED = re.compile(rf"({_LIBRARY.pattern})\n(?:[A-Z].*\n)*?Anonymous: +(\d+) kB$", re.MULTILINE)
#: Lines that were looked at, and whether nothing was changed. A library is changed while it is loaded, never later.
_unchanged: dict[str, bool] = {}


def drop_library_pages() -> None:
    """Unmap pages of libraries that this process has read and not changed, on Linux.

    Importing onnxruntime touches some 10 MiB of its code once, and so does each new kind of work. Such pages belong to
    the file: what is needed again is read again. Mappings with a single changed page stay. Only new mappings are looked
    at closely, because that takes the kernel ten times as long as listing them.
    """
    try:
        advise = ctypes.CDLL(None, use_errno=True).madvise
        found = {match[0]: (int(match[1], 16), int(match[2], 16)) for match in _libraries()}
        if not found.keys() <= _unchanged.keys():
            _unchanged.update(_look(Path("/proc/self/smaps").read_text()))
    except (OSError, AttributeError):
        return
    advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for line, (start, end) in found.items():
        if _unchanged.get(line):
            advise(start, end - start, _MADV_DONTNEED)


def _libraries() -> Iterator[re.Match[str]]:
    return _LIBRARY.finditer(Path("/proc/self/maps").read_text())


def _look(smaps: str) -> Iterator[tuple[str, bool]]:
    """Each mapping of a library, and whether it is unchanged."""
    for line, _, _, changed_kib in _CHANGED.findall(smaps):
        yield line, changed_kib == "0"
