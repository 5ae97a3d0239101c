"""Sums of boards' vectors by Flower's SecAgg+, which shows the server no single one. It speaks older messages."""

import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.common import Code, FitIns, FitRes, Parameters, Status, ndarrays_to_parameters, parameters_to_ndarrays
from flwr.compat.common.recorddict_compat import fitres_to_recorddict, recorddict_to_fitins
from flwr.server import LegacyContext
from flwr.server.strategy import FedAvg
from flwr.server.workflow import SecAggPlusWorkflow
from flwr.server.workflow.constant import MAIN_CONFIGS_RECORD, MAIN_PARAMS_RECORD, Key
from flwr.serverapp import Grid

from lightcl_edge.console.text import Document
from lightcl_edge.files.tensors import DoubleArray
from lightcl_host.fleet.secure_rounds import Added

_ORDER = "order"
#: Each board's secrets are shared among all; so many of them can undo the masks of one that went away.
_SHARES, _THRESHOLD = 1.0, 0.6


class _Sum(FedAvg):  # type: ignore[misc]
    """The strategy of one sum: every board gets its order, and the mean of all answers comes back."""

    def __init__(self, orders: Mapping[int, Document]) -> None:
        super().__init__()
        self._orders = orders
        self.added: Added | None = None

    def configure_fit(self, server_round: int, parameters: Parameters, client_manager: Any) -> list[Any]:
        """A message for each board."""
        return [
            (SimpleNamespace(node_id=node), FitIns(Parameters([], ""), {_ORDER: json.dumps(order)}))
            for node, order in self._orders.items()
        ]

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> tuple[None, dict[str, Any]]:
        """Keep the sum: each result holds the mean of all."""
        mean = parameters_to_ndarrays(results[0][1].parameters)[0]
        self.added = Added((mean * len(results)).round(), frozenset(proxy.node_id for proxy, _ in results))
        return None, {}


def add(grid: Grid, context: Context, orders: Mapping[int, Document], bits: int, timeout_s: float) -> Added | str:
    """The sum of whole numbers of so many bits, or why there is none.

    Flower scales numbers to a range; this range is that of the numbers, so they stay what they are.
    """
    strategy, state = _Sum(orders), RecordDict()
    state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: 1})
    state.array_records[MAIN_PARAMS_RECORD] = ArrayRecord()
    own = Context(context.run_id, context.node_id, context.node_config, state, context.run_config)
    SecAggPlusWorkflow(
        _SHARES,
        _THRESHOLD,
        max_weight=1.0,
        clipping_range=2.0 ** (bits - 1),
        quantization_range=2**bits,
        timeout=timeout_s,
    )(grid, LegacyContext(own, strategy=strategy))
    return strategy.added or "too few boards answered"


def order_of(message: Message) -> Document:
    """What a board is asked for."""
    order: Document = json.loads(str(recorddict_to_fitins(message.content, keep_input=True).config[_ORDER]))
    return order


def answer_of(message: Message, vector: DoubleArray) -> Message:
    """A board's vector, before Flower masks it."""
    result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([vector]), 1, {})
    return Message(fitres_to_recorddict(result, keep_input=False), reply_to=message)
