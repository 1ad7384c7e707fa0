from .overview_page import overview
from .score_plots import pairs, win_matrix
from .timing_plots import intervals, latency, throughput
from .token_plots import next_token_bars, token_tree
from .tradeoff_plots import cost_score, pareto_front, time_score

__all__ = [
    "cost_score",
    "intervals",
    "latency",
    "next_token_bars",
    "overview",
    "pairs",
    "pareto_front",
    "throughput",
    "time_score",
    "token_tree",
    "win_matrix",
]
