"""A program that delivers pictures, kept running: read, watched, and started anew after a pause when it ends."""

import os
import selectors
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress

from lightcl_edge.errors import DataError
from lightcl_edge.serve.sources.contract import Source, SourceStatus
from lightcl_edge.serve.sources.jpeg import JpegSplitter, without_metadata
from lightcl_edge.serve.sources.programs import Program

#: The pause before a program is started again doubles from the first to the longest.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0
#: A program that has given pictures for so long was fine: the pause begins anew.
GOOD_SECONDS = 10.0
#: A camera that gives no picture for so long has got stuck.
STUCK_SECONDS = 20.0
#: A camera whose rate has been far off for so long is started anew; until then, the frames too many are dropped.
RATE_CHANGE_SECONDS = 30.0
_READ_BYTES, _COMPLAINT_BYTES = 2**16, 4096
_POLL_SECONDS, _END_SECONDS, _FRESH_SECONDS = 0.1, 1.0, 3.0


class ChildSource(Source):
    """The newest frame of a program's output.

    The program has a process group of its own. It ends with this process, however that ends: the kernel kills it, and
    where the kernel isn't asked to (no ``setpriv``), it ends as soon as it writes.
    """

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.kind = program.kind
        self._program = program
        self._message = f"waiting for the first picture of {program.place}"
        self._showing = False  # this run of the program has given a picture
        self._last_sign = self._due = 0.0  # monotonic seconds: its last picture or its start, and the next one's turn
        self._wake = threading.Event()
        # The kernel's signal follows the thread that started the program, so this thread must outlive the program.
        self._thread = threading.Thread(target=self._keep_running, name=f"source-{self.kind}", daemon=True)
        self._thread.start()

    def status(self) -> SourceStatus:
        silence = time.monotonic() - self._last_sign
        working = self._showing and (self._program.patient or silence < max(_FRESH_SECONDS, 3 / self.rate))
        return SourceStatus(self.kind, working, self._message, self._frames_per_second())

    def close(self) -> None:
        super().close()
        self._wake.set()
        self._thread.join(4 * _END_SECONDS)

    def _keep_running(self) -> None:
        pause = FIRST_PAUSE_SECONDS
        while not self._closed:
            try:
                seconds, again = self._run()
            except OSError as error:  # no memory or no handles left: later there may be
                seconds, again, self._message = 0.0, False, f"{self._program.place} can't be read: {error.strerror}"
            self._showing = False
            if again:
                continue
            pause = FIRST_PAUSE_SECONDS if seconds >= GOOD_SECONDS else pause
            self._wake.wait(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def _run(self) -> tuple[float, bool]:
        """Run the program until it ends; gives for how long pictures came, and whether to start it anew at once."""
        rate = self.rate
        words = self._program.command(rate)
        if shutil.which(words[0]) is None:
            self._message = self._program.install
            return 0.0, False
        guard = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        process = subprocess.Popen(
            [*guard, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            bufsize=0,
        )
        reading = _Reading(process)
        try:
            return self._read(reading, rate)
        finally:
            _end(process)
            reading.close()

    def _read(self, reading: "_Reading", rate: float) -> tuple[float, bool]:
        splitter, first = JpegSplitter(), None
        fitting = self._last_sign = time.monotonic()
        while not self._closed:
            chunk, now = reading.next(_POLL_SECONDS), time.monotonic()
            if chunk is None:
                self._message = self._program.explain(reading.complaints)
                break
            for jpeg in splitter.feed(chunk):
                first, self._last_sign = first or now, now
                self._pass_on(jpeg)
            if self._program.patient and reading.complained:
                self._message = self._program.explain(reading.complaints)
            if 0.5 < self.rate / rate < 2 or not self._program.live:
                fitting = now
            if now - fitting > RATE_CHANGE_SECONDS:
                return 0.0, True
            if not self._program.patient and now - self._last_sign > STUCK_SECONDS:
                self._message = f"{self._program.place} stopped giving pictures; it is started anew"
                break
        return (self._last_sign - first if first else 0.0), False

    def _pass_on(self, jpeg: bytes) -> None:
        """Publish a frame at its turn. One that comes too early is dropped; stills of a folder wait instead."""
        if self._program.patient:
            self._wake.wait(self._due - time.monotonic())
        if (now := time.monotonic()) < self._due:
            return
        self._due = max(self._due, now - 1 / self.rate) + 1 / self.rate
        with suppress(DataError):  # the next one will do
            self._publish(without_metadata(jpeg))
            self._message, self._showing = "", True


class _Reading:
    """Output and complaints of a program, read side by side so that it never waits for either."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        if process.stdout is None or process.stderr is None:
            raise ValueError("the program was started without pipes")
        self._pipes = process.stdout, process.stderr
        self._selector = selectors.DefaultSelector()
        for pipe in self._pipes:
            self._selector.register(pipe, selectors.EVENT_READ)
        self._complaints = b""
        self.complained = False  # since the last call of next()

    @property
    def complaints(self) -> str:
        """The end of what the program has complained about."""
        return self._complaints.decode(errors="replace")

    def next(self, timeout: float) -> bytes | None:
        """The next bytes of the output, empty when none came in time; None at its end."""
        output, errors = self._pipes
        chunk: bytes | None = b""
        self.complained = False
        for key, _ in self._selector.select(timeout):
            read = os.read(key.fd, _READ_BYTES)
            if key.fileobj is output:
                chunk = read or None
            elif read:
                self.complained = True
                self._complaints = (self._complaints + read)[-_COMPLAINT_BYTES:]
            else:
                self._selector.unregister(errors)
        return chunk

    def close(self) -> None:
        self._selector.close()
        for pipe in self._pipes:
            pipe.close()


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a program and all that it has started: kindly at first, because a camera's driver is left in order then."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):  # a driver that hangs lets nobody end; the server must go on
            process.wait(_END_SECONDS)
            break
