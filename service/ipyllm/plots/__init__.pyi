from .overview_page import overview
from .score_plots import cost_score, pairs, pareto_front, win_matrix
from .timing_plots import intervals, latency, throughput

__all__ = ["cost_score", "intervals", "latency", "overview", "pairs", "pareto_front", "throughput", "win_matrix"]
