"""Primary and secondary metrics, each corrected by itself; arms in the order of the call, or by value."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from ipyllm import LLMError
from ipyllm import statistics as st
from ipyllm.comparison import report
from tests.service.statistics.conftest import calls

ARMS = {"c": (0.4, 0.3), "a": (0.8, 0.2), "b": (0.6, 0.25)}


@pytest.fixture(scope="module")
def given():
    return calls(ARMS)


def families(table):
    return {
        name: list(dict.fromkeys(of_family.index.get_level_values("metric")))
        for name, of_family in table.groupby("family")
    }


def test_scores_are_primary_and_all_else_is_secondary(given):
    assert families(st.paired(given)) == {
        "primary": ["score_exact", "score_similarity"],
        "secondary": ["ttft_s", "total_s", "output_tps", "cost_usd"],
    }
    unscored = given.drop(columns=["score_exact", "score_similarity"])
    assert families(st.paired(unscored)) == {
        "primary": ["ttft_s"],
        "secondary": ["total_s", "output_tps", "cost_usd"],
    }


def test_named_metrics_have_no_others_beside_them(given):
    assert families(st.paired(given, metrics=["exact", "ttft_s"])) == {"primary": ["score_exact", "ttft_s"]}
    assert families(st.paired(given, metrics="exact", secondary="cost_usd")) == {
        "primary": ["score_exact"],
        "secondary": ["cost_usd"],
    }
    assert families(st.paired(given, secondary=["similarity", "ttft_s"])) == {
        "primary": ["score_exact"],
        "secondary": ["score_similarity", "ttft_s"],
    }
    assert families(st.paired(given, secondary=())) == {"primary": ["score_exact", "score_similarity"]}


def test_each_family_is_corrected_for_its_own_comparisons(given):
    table = st.paired(given, metrics="exact", secondary=["ttft_s", "total_s", "cost_usd"])
    assert table["p_adjusted"].tolist() == pytest.approx(
        [min(1, p * (2 if family == "primary" else 6)) for p, family in zip(table["p"], table["family"], strict=True)]
    )
    shown = ["low", "high", "p_adjusted", "detectable"]
    alone = {
        "primary": st.paired(given, metrics="exact"),
        "secondary": st.paired(given, metrics=["ttft_s", "total_s", "cost_usd"]),
    }
    for name, of_family in table.groupby("family"):
        assert of_family[shown].to_dict("index") == alone[name][shown].to_dict("index")


def test_sentences_and_notes_name_the_family(given):
    table = st.paired(given, metrics="exact", secondary=["ttft_s", "total_s"])
    assert "corrected for 2 primary comparisons)" in table.conclusion
    assert "corrected for 4 secondary comparisons)" in table.conclusion
    assert table.notes[0] == (
        "There are 2 primary comparisons. Each interval is one of 97.5%, so that all of them hold together at 95%, and "
        "the corrected p (p_adjusted) is 2 times p (Bonferroni). The secondary ones are corrected apart."
    )
    assert table.notes[1].startswith("There are 4 secondary comparisons. Each interval is one of 98.75%")
    assert "They are not corrected for the primary ones. Name the metrics" in table.notes[1]
    assert "secondary" in repr(table)
    one = st.paired(given, metrics=["exact", "ttft_s"])
    assert "corrected for 4 comparisons)" in one.conclusion
    assert "primary" not in repr(one)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"metrics": "exact", "secondary": "score_exact"}, "exact is both a primary and a secondary metric"),
        ({"secondary": ["exact", "similarity"]}, "There are only secondary metrics: name the primary ones"),
        ({"secondary": "tfft_s"}, "There is no metric 'tfft_s'; did you mean 'ttft_s'?"),
        ({"metrics": []}, "metrics is empty"),
        ({"sort": "best"}, "sort must be 'value', or left out for the order of the call, not 'best'."),
    ],
)
def test_families_that_cannot_be_are_refused(given, options, said):
    with pytest.raises(LLMError) as caught:
        st.paired(given, **options)
    assert said.replace(";", "").split(" did")[0] in str(caught.value).replace(";", "")


def test_a_report_has_the_metrics_that_were_chosen(given, tmp_path):
    page = report.write(given, tmp_path / "report.html", metrics="exact", secondary="ttft_s").read_text()
    differences = page.partition("Differences from c")[2].partition("<h2>")[0]
    assert "corrected for 2 secondary comparisons" in differences
    assert "total_s" not in differences
    assert "similarity" not in differences


# ---- the order of arms ----------------------------------------------------------------------------------


def arms_of(table):
    return list(dict.fromkeys(table.index.get_level_values("arm")))


def test_arms_stand_in_the_order_of_the_call_or_by_value(given):
    shuffled = given.sample(frac=1, random_state=3)
    shuffled.attrs["arms"] = list(ARMS)
    assert arms_of(st.summarise_arms(shuffled)) == ["c", "a", "b"]
    assert arms_of(st.summarise_arms(shuffled, sort="value")) == ["a", "b", "c"]
    assert arms_of(st.summarise_arms(shuffled, sort="exact")) == ["a", "b", "c"]
    by_time = st.summarise_arms(shuffled, sort="ttft_s")
    assert by_time["ttft_p50_s"].is_monotonic_increasing
    assert arms_of(by_time) != arms_of(st.summarise_arms(shuffled))
    by_cost = st.summarise_arms(shuffled, sort="cost_usd")
    assert by_cost["cost_per_call_usd"].is_monotonic_increasing
    assert by_time.conclusion == st.summarise_arms(shuffled).conclusion

    table = st.paired(shuffled)
    assert set(table["baseline"]) == {"c"}
    assert arms_of(table) == ["a", "b"]
    by_value = st.paired(shuffled, baseline="a", sort="value")
    assert by_value.loc["score_exact", "difference"].is_monotonic_decreasing
    assert by_value.loc["ttft_s", "difference"].is_monotonic_increasing
    assert list(by_value.loc["score_exact"].index) == ["b", "c"]
    with pytest.raises(LLMError, match="Arms cannot stand by thinking time, of which this table has no column"):
        st.summarise_arms(given, sort="thinking_s")


def test_the_order_is_kept_by_the_categories_where_the_attributes_are_lost(given, tmp_path):
    kept = given.sample(frac=1, random_state=3).assign(arm=lambda frame: pd.Categorical(frame["arm"], ["b", "c", "a"]))
    kept.attrs = {}
    kept.to_parquet(tmp_path / "calls.parquet")
    assert arms_of(st.summarise_arms(pd.read_parquet(tmp_path / "calls.parquet"))) == ["b", "c", "a"]
    assert arms_of(st.summarise_arms(kept[kept["arm"] != "c"])) == ["b", "a"]


def test_a_report_shows_answers_in_the_order_of_the_arms_and_tables_by_value(given, tmp_path):
    shuffled = given.sample(frac=1, random_state=3)
    shuffled.attrs["arms"] = list(ARMS)
    page = report.write(shuffled, tmp_path / "report.html", sort="value").read_text()
    for prompt in page.partition("<h2>Answers</h2>")[2].split("<details>")[1:]:
        assert re.findall(r'<div class="answer"><header>(\w+) ', prompt) == ["c", "c", "a", "a", "b", "b"]
    summary = page.partition("Summary by arm")[2].partition("</table>")[0]
    assert re.findall(r'<th scope="row">([abc])</th>', summary) == ["a", "b", "c"]
