from .bradley_terry import ComparisonOutcome, Strengths, fit_strengths
from .differences import Difference, bonett_price, bootstrap_interval, cohens_dz, hodges_lehmann, paired_t
from .means import Mean, clustered_mean, pass_at_k, wilson
from .pairs import paired
from .power import minimum_detectable_difference, n_needed
from .quantiles import Interval, calls_for_upper_limit, quantile, quantile_interval
from .ranking import prompts_to_rank, ranking, win_matrix
from .regression import NonInferiority, assert_no_regression
from .significance import holm, mcnemar, rank_biserial, wilcoxon
from .summary import summarise_arms
from .table import StatisticsFrame

__all__ = [
    "ComparisonOutcome",
    "Difference",
    "Interval",
    "Mean",
    "NonInferiority",
    "StatisticsFrame",
    "Strengths",
    "assert_no_regression",
    "bonett_price",
    "bootstrap_interval",
    "calls_for_upper_limit",
    "clustered_mean",
    "cohens_dz",
    "fit_strengths",
    "hodges_lehmann",
    "holm",
    "mcnemar",
    "minimum_detectable_difference",
    "n_needed",
    "paired",
    "paired_t",
    "pass_at_k",
    "prompts_to_rank",
    "quantile",
    "quantile_interval",
    "rank_biserial",
    "ranking",
    "summarise_arms",
    "wilcoxon",
    "wilson",
    "win_matrix",
]
