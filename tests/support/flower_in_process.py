"""Plays a fleet in one process of the environment with Flower: ``APP BUNDLE STORE SEND HEADS GONE STATE...``."""

import copy
import sys
from pathlib import Path

from flwr.app import Context, Error, Message, RecordDict
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

#: A board that does not answer.
AWAY = 99


class Boards(Grid):
    """Each node is the app's ClientApp, called here."""

    def __init__(self, client, states, gone):
        self._gone = gone  # a board that goes away when sums are to be added
        self._client, self._states, self._replies, self._sent = client, states, {}, 0
        self._kept = {node: RecordDict() for node in range(1, len(states) + 1)}  # what Flower keeps between messages
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1  # a message names them

    def get_node_ids(self):
        return [*range(1, len(self._states) + 1), AWAY]

    def push_messages(self, messages):
        for each in messages:
            self._sent += 1
            each.metadata.__dict__["_message_id"] = str(self._sent)  # as Flower's grids do
            self._replies[str(self._sent)] = self._answer(copy.deepcopy(each))  # one content may go to all
        return [each.metadata.message_id for each in messages]

    def pull_messages(self, message_ids):
        return [self._replies.pop(each) for each in message_ids if each in self._replies]

    def _answer(self, message):
        gone = message.metadata.dst_node_id == self._gone and message.metadata.message_type == "train"
        if message.metadata.dst_node_id != AWAY and not gone:
            return self._client(message, self._context(message.metadata.dst_node_id))
        reply = Message(Error(0, "it is away"), reply_to=message)
        reply.metadata.__dict__["_src_node_id"] = 1  # the server's own number
        return reply

    def _context(self, node):
        config = {"state": str(self._states[node - 1])}
        return Context(run_id=1, node_id=node, node_config=config, state=self._kept[node], run_config={})

    def send_and_receive(self, messages, *, timeout=None):
        return self.pull_messages(self.push_messages(messages))

    def set_run(self, run):
        raise NotImplementedError

    run = create_message = set_run


def main(app, bundle, store, send, heads, gone, *states):
    sys.path.insert(0, app)
    from lightcl_fleet.client_app import app as client
    from lightcl_fleet.server_app import app as server

    config = {"bundle": bundle, "store": store, "key": "", "test": "", "rounds": 2, "boards": len(states)}
    config |= {"pause-seconds": 0.0, "timeout-seconds": 60.0, "wait-seconds": 1.0, "states": ""}
    config |= {"send": send, "sign": "", "least-boards": 3, "head-rounds": int(heads)}
    context = Context(run_id=1, node_id=0, node_config={}, state=RecordDict(), run_config=config)
    server(Boards(client, [Path(each) for each in states], int(gone)), context)
    loaded = {"onnxruntime", "torch", "lightcl_edge.learning"} & set(sys.modules)
    assert not loaded, f"Flower's process has loaded {loaded}"


if __name__ == "__main__":
    main(*sys.argv[1:])
