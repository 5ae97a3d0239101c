"""Plain training on the new task alone: the baseline that forgets."""

from lightcl_edge.learning.strategies.contract import Strategy


class Finetune(Strategy):
    """Cross entropy over all classes known so far; nothing is kept."""

    name = "finetune"
    uses = ("epochs", "batch_size", "learning_rate")
