"""The server: rounds over the boards that Flower's grid knows."""

import time
from collections.abc import Mapping, Sequence
from logging import ERROR, INFO
from pathlib import Path

from flwr.app import Context, Message
from flwr.common.logger import log
from flwr.serverapp import Grid, ServerApp

from lightcl_edge.console.text import Document
from lightcl_edge.errors import LightclError
from lightcl_host.fleet.rounds import Packet
from lightcl_host.fleet.run import FleetOptions, run_fleet
from lightcl_host.fleet.secure_rounds import Added

from .averaging import average
from .secure import add
from .wire import packed, unpacked

app = ServerApp()

#: Flower's simulation looks for each board at each waiting message, ten times a second: there only so many wait.
SIMULATED_AT_ONCE = 8
_PAUSE_S = 0.5


class GridLink:
    """Boards as nodes of Flower's grid; so many are asked ``at_once``, None for all."""

    def __init__(self, grid: Grid, context: Context, timeout_s: float, at_once: int | None = None) -> None:
        self._grid, self._context, self._timeout_s, self._at_once = grid, context, timeout_s, at_once
        self._sent = 0

    def nodes(self) -> Sequence[int]:
        return sorted(self._grid.get_node_ids())

    def ask(self, what: str, packets: Mapping[int, Packet]) -> Mapping[int, Packet | str]:
        self._sent += 1
        answers: dict[int, Packet | str] = {}
        waiting: dict[str, tuple[int, float]] = {}  # by message the node, and until when
        left = list(packets)
        while left or waiting:
            free = len(left) if self._at_once is None else self._at_once - len(waiting)
            for node in left[:free]:
                waiting[self._push(what, node, packets[node])] = node, time.monotonic() + self._timeout_s
            left = left[free:]
            for reply in self._grid.pull_messages(list(waiting)):
                asked = waiting.pop(reply.metadata.reply_to_message_id, None)
                if asked is not None:
                    answers[asked[0]] = self._read(reply)
            waiting = {message: each for message, each in waiting.items() if time.monotonic() < each[1]}
            if waiting:
                time.sleep(_PAUSE_S)
        return answers

    def add(self, orders: Mapping[int, Document], bits: int, least: int) -> Added | str:
        return add(self._grid, self._context, orders, bits, least, self._timeout_s)

    def _push(self, what: str, node: int, packet: Packet) -> str:
        content, group = packed(packet.document, dict(packet.files)), str(self._sent)
        message = Message(content, node, what, group_id=group, ttl=self._timeout_s)
        return next(iter(self._grid.push_messages([message])), None) or f"not sent to {node}"

    def _read(self, reply: Message) -> Packet | str:
        if reply.has_error():
            return str(reply.error.reason)
        try:
            return Packet(*unpacked(reply.content))
        except ValueError as error:
            return str(error)


@app.main()
def main(grid: Grid, context: Context) -> None:
    run = context.run_config
    link = GridLink(grid, context, float(run["timeout-seconds"]), SIMULATED_AT_ONCE if run["states"] else None)
    end = time.monotonic() + float(run["wait-seconds"])
    while len(link.nodes()) < int(run["boards"]) and time.monotonic() < end:
        time.sleep(0.5)
    options = FleetOptions(
        Path(str(run["bundle"])),
        Path(str(run["store"])),
        Path(str(run["key"])) if run["key"] else None,
        int(run["rounds"]),
        float(run["pause-seconds"]),
        str(run["test"]) or None,
        str(run["send"]),
        Path(str(run["sign"])) if run["sign"] else None,
        int(run["least-boards"]),
        int(run["head-rounds"]),
    )
    try:
        run_fleet(options, link, lambda text: log(INFO, text), average)
    except LightclError as error:
        log(ERROR, "error: %s", error)  # Flower says only that the run failed
        raise
