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
#: Each board's secrets are shared among all; so many of them can undo the masks of one that went away afterwards.
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


class _GoneError(Exception):
    """Boards went away while keys were exchanged: Flower can't undo their masks."""

    def __init__(self, nodes: set[int]) -> None:
        super().__init__()
        self.nodes = nodes


class _Workflow(SecAggPlusWorkflow):  # type: ignore[misc]
    """Flower's, which ends early where a board went away too soon."""

    def setup_stage(self, grid: Grid, context: LegacyContext, state: Any) -> bool:
        """All boards must have a key."""
        return bool(super().setup_stage(grid, context, state)) and _all_there(state)

    def share_keys_stage(self, grid: Grid, context: LegacyContext, state: Any) -> bool:
        """All boards must have given shares of it."""
        return bool(super().share_keys_stage(grid, context, state)) and _all_there(state)


def _all_there(state: Any) -> bool:
    if gone := set(state.sampled_node_ids) - set(state.active_node_ids):
        raise _GoneError(gone)
    return True


def add(
    grid: Grid, context: Context, orders: Mapping[int, Document], bits: int, least: int, timeout_s: float
) -> Added | str:
    """The sum of whole numbers of so many bits, or why there is none.

    Flower scales numbers to a range; this range is that of the numbers, so they stay what they are. Boards that go away
    while keys are exchanged are left out, and the others begin again. Later ones need no new beginning, as long as
    ``least`` are left.
    """
    left = dict(orders)
    failures: dict[int, str] = {}
    while len(left) >= max(2, least):
        try:
            added = _add(grid, context, left, bits, max(least, round(_THRESHOLD * len(left))), timeout_s)
        except _GoneError as gone:
            failures |= dict.fromkeys(gone.nodes, "it went away while keys were exchanged")
            left = {node: order for node, order in left.items() if node not in gone.nodes}
            continue
        except (KeyError, ValueError, TypeError, AttributeError, IndexError) as error:  # of what a board answered
            return f"a board's answer can't be used ({type(error).__name__}: {error})"
        if added is None:
            break
        failures |= dict.fromkeys(set(left) - added.nodes, "it did not give its numbers")
        return Added(added.vector, added.nodes, failures)
    return "too few boards answered"


def _add(
    grid: Grid, context: Context, orders: Mapping[int, Document], bits: int, threshold: int, timeout_s: float
) -> Added | None:
    strategy, state = _Sum(orders), RecordDict()
    state.config_records[MAIN_CONFIGS_RECORD] = ConfigRecord({Key.CURRENT_ROUND: 1})
    state.array_records[MAIN_PARAMS_RECORD] = ArrayRecord()
    own = Context(context.run_id, context.node_id, context.node_config, state, context.run_config)
    _Workflow(
        _SHARES,
        threshold,
        max_weight=1.0,
        clipping_range=2.0 ** (bits - 1),
        quantization_range=2**bits,
        timeout=timeout_s,
    )(grid, LegacyContext(own, strategy=strategy))
    return strategy.added


def order_of(message: Message) -> Document:
    """What a board is asked for."""
    order: Document = json.loads(str(recorddict_to_fitins(message.content, keep_input=True).config[_ORDER]))
    return order


def answer_of(message: Message, vector: DoubleArray) -> Message:
    """A board's vector, before Flower masks it."""
    result = FitRes(Status(Code.OK, ""), ndarrays_to_parameters([vector]), 1, {})
    return Message(fitres_to_recorddict(result, keep_input=False), reply_to=message)
