from .page import overview
from .scores import cost_score, pairs, pareto_front, win_matrix
from .timing import intervals, latency, throughput

__all__ = ["cost_score", "intervals", "latency", "overview", "pairs", "pareto_front", "throughput", "win_matrix"]
