"""The server: rounds over the boards that Flower's grid knows."""

import time
from collections.abc import Mapping, Sequence
from logging import ERROR, INFO
from pathlib import Path

from flwr.app import Context, Message
from flwr.common.logger import log
from flwr.serverapp import Grid, ServerApp

from lightcl_edge.errors import LightclError
from lightcl_host.fleet.rounds import Packet
from lightcl_host.fleet.run import FleetOptions, run_fleet

from .wire import packed, unpacked

app = ServerApp()


class GridLink:
    """Boards as nodes of Flower's grid."""

    def __init__(self, grid: Grid, timeout_s: float) -> None:
        self._grid, self._timeout_s, self._sent = grid, timeout_s, 0

    def nodes(self) -> Sequence[int]:
        return sorted(self._grid.get_node_ids())

    def ask(self, what: str, packets: Mapping[int, Packet]) -> Mapping[int, Packet | str]:
        self._sent += 1
        messages = [
            Message(packed(each.document, dict(each.files)), node, what, group_id=str(self._sent), ttl=self._timeout_s)
            for node, each in packets.items()
        ]
        answers: dict[int, Packet | str] = {}
        for reply in self._grid.send_and_receive(messages, timeout=self._timeout_s) if messages else ():
            node = reply.metadata.src_node_id
            if reply.has_error():  # of a board that is away the server itself says so
                node = next((m.metadata.dst_node_id for m in messages if _is_reply(reply, m)), node)
            answers[node] = self._read(reply)
        return answers

    def _read(self, reply: Message) -> Packet | str:
        if reply.has_error():
            return str(reply.error.reason)
        try:
            return Packet(*unpacked(reply.content))
        except ValueError as error:
            return str(error)


def _is_reply(reply: Message, message: Message) -> bool:
    return bool(reply.metadata.reply_to_message_id == message.metadata.message_id)


@app.main()
def main(grid: Grid, context: Context) -> None:
    run = context.run_config
    link = GridLink(grid, float(run["timeout-seconds"]))
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
    )
    try:
        run_fleet(options, link, lambda text: log(INFO, text))
    except LightclError as error:
        log(ERROR, "error: %s", error)  # Flower says only that the run failed
        raise
