from .bounded_mean import bounded_mean
from .bradley_terry import ComparisonOutcome, Strengths, fit_strengths
from .differences import Difference, bootstrap_mean, cohens_dz, paired_t
from .means import Mean, clustered_mean, pass_at_k, wilson
from .pairs import paired
from .power import detectable_by_mcnemar, minimum_detectable_difference, n_needed
from .quantiles import Interval, calls_for_upper_limit, quantile, quantile_interval
from .ranking import prompts_to_rank, ranking, win_matrix
from .regression import NonInferiority, assert_no_regression
from .signed_ranks import hodges_lehmann, rank_biserial, wilcoxon
from .significance import mcnemar
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
    "bootstrap_mean",
    "bounded_mean",
    "calls_for_upper_limit",
    "clustered_mean",
    "cohens_dz",
    "detectable_by_mcnemar",
    "fit_strengths",
    "hodges_lehmann",
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
