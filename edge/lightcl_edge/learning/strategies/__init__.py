"""What the loss is and what is remembered: strategies behind one contract."""

from lightcl_edge.learning.strategies.contract import Strategy
from lightcl_edge.learning.strategies.finetune import Finetune
from lightcl_edge.learning.strategies.lightcl import LightCL
from lightcl_edge.learning.strategies.replay import Replay
from lightcl_edge.learning.strategies.slda import Ncm, Slda

STRATEGIES: dict[str, type[Strategy]] = {kind.name: kind for kind in (Replay, Slda, Ncm, LightCL, Finetune)}
