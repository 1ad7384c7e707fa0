"""What a comparison of models comes to, and how sure it is.

Tables (:func:`summarise_arms`, :func:`paired`, :func:`ranking`) carry a conclusion in plain words; below them stand the
functions they are made of. numpy, scipy and pandas load on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ipyllm.statistics.bradley_terry import Choice, Strengths, bootstrap_strengths, fit_strengths
    from ipyllm.statistics.differences import (
        Difference,
        bonett_price,
        bootstrap_interval,
        cohens_dz,
        hodges_lehmann,
        paired_t,
    )
    from ipyllm.statistics.means import Mean, clustered_mean, wilson
    from ipyllm.statistics.pairs import paired
    from ipyllm.statistics.passk import pass_at_k
    from ipyllm.statistics.power import minimum_detectable_difference, n_needed
    from ipyllm.statistics.quantiles import Interval, calls_for_upper_limit, quantile, quantile_interval
    from ipyllm.statistics.ranking import ranking, win_matrix
    from ipyllm.statistics.regression import NonInferiority, assert_no_regression
    from ipyllm.statistics.significance import holm, mcnemar, rank_biserial, wilcoxon
    from ipyllm.statistics.summary import summarise_arms
    from ipyllm.statistics.table import StatisticsFrame

_HOMES = {
    "Choice": "bradley_terry",
    "Difference": "differences",
    "Interval": "quantiles",
    "Mean": "means",
    "NonInferiority": "regression",
    "StatisticsFrame": "table",
    "Strengths": "bradley_terry",
    "assert_no_regression": "regression",
    "bonett_price": "differences",
    "bootstrap_interval": "differences",
    "bootstrap_strengths": "bradley_terry",
    "calls_for_upper_limit": "quantiles",
    "clustered_mean": "means",
    "cohens_dz": "differences",
    "fit_strengths": "bradley_terry",
    "hodges_lehmann": "differences",
    "holm": "significance",
    "mcnemar": "significance",
    "minimum_detectable_difference": "power",
    "n_needed": "power",
    "paired": "pairs",
    "paired_t": "differences",
    "pass_at_k": "passk",
    "quantile": "quantiles",
    "quantile_interval": "quantiles",
    "rank_biserial": "significance",
    "ranking": "votes",
    "summarise_arms": "arms",
    "wilcoxon": "significance",
    "wilson": "means",
    "win_matrix": "votes",
}

__all__ = [
    "Choice",
    "Difference",
    "Interval",
    "Mean",
    "NonInferiority",
    "StatisticsFrame",
    "Strengths",
    "assert_no_regression",
    "bonett_price",
    "bootstrap_interval",
    "bootstrap_strengths",
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
    "quantile",
    "quantile_interval",
    "rank_biserial",
    "ranking",
    "summarise_arms",
    "wilcoxon",
    "wilson",
    "win_matrix",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
