from .overview_page import overview
from .score_plots import pairs, win_matrix
from .timing_plots import intervals, latency, throughput
from .tradeoff_plots import cost_score, pareto_front, time_score

__all__ = [
    "cost_score",
    "intervals",
    "latency",
    "overview",
    "pairs",
    "pareto_front",
    "throughput",
    "time_score",
    "win_matrix",
]
