"""What ``{{ df }}`` sends: tables of pandas and Polars, with their labels, and how much of them."""

from __future__ import annotations

import textwrap

import numpy as np
import pandas as pd
import pytest

from ipyllm.conversations.tokens import estimate
from ipyllm.errors import LLMError
from ipyllm_magics.errors import MagicError
from ipyllm_magics.prompt.summarize_value import summarize_value
from ipyllm_magics.prompt.template import fill_in

TEXT = str(pd.Series(["a"]).dtype)  # differs between versions of pandas
DAYS = pd.date_range("2024-01-01", periods=4, freq="D")


def orders():
    return pd.DataFrame({"city": ["Bern", "Oslo", "Bern", None], "cups": [3, 5, 1, 2], "price": [1.5, 2.25, None, 3.0]})


def many(rows=500):
    return pd.DataFrame({"text": [f"{'a long review ' * 10}{i}" for i in range(rows)], "stars": range(rows)})


def text(expected):
    return textwrap.dedent(expected).strip("\n").replace("TEXT", TEXT)


LABELLED = {
    "sums of groups": (
        lambda: orders().groupby("city").sum(),
        """
        DataFrame of 2 rows and 2 columns:
        - city (index): TEXT
        - cups: int64
        - price: float64
        Rows as CSV:
        city,cups,price
        Bern,4,1.5
        Oslo,5,2.25
        """,
    ),
    "counts": (
        orders().city.value_counts,
        """
        Series 'count' of 2 values, int64, from 1 to 2, mean 1.5:
        - city (index): TEXT
        Rows as CSV:
        city,count
        Bern,2
        Oslo,1
        """,
    ),
    "statistics": (
        orders()[["cups"]].describe,
        """
        DataFrame of 8 rows and 1 column:
        - index: TEXT
        - cups: float64
        Rows as CSV:
        index,cups
        count,4.0
        mean,2.75
        std,1.707825127659933
        min,1.0
        25%,1.75
        50%,2.5
        75%,3.5
        max,5.0
        """,
    ),
    "a time series": (
        lambda: pd.Series([1.0, 2.0, np.nan, 4.0], index=DAYS, name="load"),
        f"""
        Series 'load' of 4 values, float64, 1 missing, from 1 to 4, mean 2.33333:
        - index: {DAYS.dtype}
        Rows as CSV:
        index,load
        2024-01-01,1.0
        2024-01-02,2.0
        2024-01-03,
        2024-01-04,4.0
        """,
    ),
    "levels in rows and columns": (
        lambda: orders().groupby(["city", "cups"]).agg({"price": ["sum", "max"]}),
        """
        DataFrame of 3 rows and 2 columns:
        - city (index): TEXT
        - cups (index): int64
        - price / sum: float64
        - price / max: float64, 1 missing
        Rows as CSV:
        city,cups,price / sum,price / max
        Bern,1,0.0,
        Bern,3,1.5,1.5
        Oslo,5,2.25,2.25
        """,
    ),
    "levels of a column": (
        orders().groupby(["city", "cups"]).price.sum,
        """
        Series 'price' of 3 values, float64, from 0 to 2.25, mean 1.25:
        - city (index): TEXT
        - cups (index): int64
        Rows as CSV:
        city,cups,price
        Bern,1,0.0
        Bern,3,1.5
        Oslo,5,2.25
        """,
    ),
    "levels without names": (
        lambda: pd.DataFrame({"x": [1]}, index=pd.MultiIndex.from_tuples([("a", 1)])),
        """
        DataFrame of 1 row and 1 column:
        - level 0 (index): TEXT
        - level 1 (index): int64
        - x: int64
        Rows as CSV:
        level 0,level 1,x
        a,1,1
        """,
    ),
    "a pivot table": (
        lambda: orders().pivot_table(index="city", columns="cups", values="price"),
        """
        DataFrame of 2 rows and 2 columns, one for each cups:
        - city (index): TEXT
        - 3: float64, 1 missing
        - 5: float64, 1 missing
        Rows as CSV:
        city,3,5
        Bern,1.5,
        Oslo,,2.25
        """,
    ),
    "chosen rows of a table": (
        lambda: orders()[orders().cups < 3],
        """
        DataFrame of 2 rows and 3 columns:
        - index: int64
        - city: TEXT, 1 missing
        - cups: int64
        - price: float64, 1 missing
        Rows as CSV:
        index,city,cups,price
        2,Bern,1,
        3,,2,3.0
        """,
    ),
    "labels that repeat": (
        lambda: pd.Series([1, 2], index=["a", "a"]),
        """
        Series of 2 values, int64, from 1 to 2, mean 1.5:
        - index: TEXT
        Rows as CSV:
        index,value
        a,1
        a,2
        """,
    ),
    "levels alone": (
        lambda: orders().set_index(["city", "cups"]).index[:2],
        """
        MultiIndex of 2 rows:
        - city (index): TEXT
        - cups (index): int64
        Rows as CSV:
        city,cups
        Bern,3
        Oslo,5
        """,
    ),
}


@pytest.mark.parametrize("name", LABELLED)
def test_an_index_that_is_not_the_default_one_is_sent(name):
    make, expected = LABELLED[name]
    assert summarize_value(make()) == text(expected)
    assert fill_in("{{ value }}", {"value": make()}) == text(expected)


@pytest.mark.parametrize("index", [[0, 1, 2, 3], pd.RangeIndex(4)], ids=["numbers", "a range"])
def test_the_default_index_is_not(index):
    assert "index" not in summarize_value(orders().set_index(pd.Index(index)))
    assert (
        summarize_value(orders().cups) == "Series 'cups' of 4 values, int64, from 1 to 5, mean 2.75; values: 3, 5, 1, 2"
    )


def test_a_default_index_with_a_name_is_sent():
    assert "- run (index): int64" in summarize_value(orders().rename_axis("run"))


def test_types_and_missing_values_of_every_kind():
    table = pd.DataFrame(
        {
            "size": pd.Categorical(["S", None], ["S", "M"], ordered=True),
            "kind": pd.Categorical(["x", "y"]),
            "took": pd.to_timedelta(["1h", None]).astype("timedelta64[s]"),
            "month": pd.period_range("2024-01", periods=2, freq="M"),
            "range": pd.interval_range(0, 2),
            "n": pd.array([1, None], dtype="Int64"),
            "ok": pd.array([True, None], dtype="boolean"),
            "at": pd.Series(["2024-01-01", pd.NaT]).astype("datetime64[s]").dt.tz_localize("Europe/Zurich"),
            "any": pd.Series([None, {"a": [1]}], dtype=object),
            "x": [np.nan, 0.1],
        }
    )
    assert summarize_value(table) == text(
        """
        DataFrame of 2 rows and 10 columns:
        - size: category (S < M), 1 missing
        - kind: category (x, y)
        - took: timedelta64[s], 1 missing
        - month: period[M]
        - range: interval[int64, right]
        - n: Int64, 1 missing
        - ok: boolean, 1 missing
        - at: datetime64[s, Europe/Zurich], 1 missing
        - any: object, 1 missing
        - x: float64, 1 missing
        Rows as CSV:
        size,kind,took,month,range,n,ok,at,any,x
        S,x,0 days 01:00:00,2024-01,"(0, 1]",1,True,2024-01-01 00:00:00+01:00,,
        ,y,,2024-02,"(1, 2]",,,,{'a': [1]},0.1
        """
    )


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pd.Series(["a, b", None], name="text"), "'text' of 2 values, TEXT, 1 missing; values: 'a, b', missing"),
        (pd.Series([1, None], dtype="Int64"), "of 2 values, Int64, 1 missing, from 1 to 1, mean 1; values: 1, missing"),
        (pd.Series([None, None]), "of 2 values, object, 2 missing; values: missing, missing"),
        (
            pd.Series(DAYS[:1].astype("datetime64[s]"), name=("a", 1)),
            "('a', 1) of 1 value, datetime64[s], from {0} to {0}; values: {0}".format("2024-01-01 00:00:00"),
        ),
    ],
    ids=["text", "nullable", "nothing", "dates"],
)
def test_a_column_with_the_default_index_is_one_line(column, expected):
    assert summarize_value(column) == f"Series {expected}".replace("TEXT", TEXT)


# ---- how much ------------------------------------------------------------------------------------------------


def test_a_long_table_says_how_many_rows_it_leaves_out():
    shown = summarize_value(many(), 200)
    assert "\nFirst 4 of 500 rows as CSV:\n" in shown
    assert shown.endswith("…,3")  # cells are cut
    assert len(shown.splitlines()) == 9
    assert estimate(shown) <= 200
    assert "; first 39 of 500 values: 0, 1" in summarize_value(many().stars, 200)
    assert summarize_value(many(), 60).endswith("None of its 500 rows is shown.")


def test_a_wide_table_says_how_many_columns_it_leaves_out():
    shown = summarize_value(pd.DataFrame(np.zeros((5, 500))), 200)
    assert "- 10: float64\n- … and 489 more columns\nFirst 1 of 5 rows and 11 of 500 columns as CSV:\n0,1,2,3" in shown
    assert estimate(shown) <= 200


def test_as_many_rows_as_fit_are_shown():
    table = pd.DataFrame({"n": range(10, 99)})
    assert summarize_value(table).endswith("\nRows as CSV:\nn\n" + "\n".join(map(str, range(10, 99))))


CHOICES = {
    "{{ df | head(20) }}": ("First 20 of 500 rows as CSV:", range(20)),
    "{{ df.head(20) }}": ("First 20 of 500 rows as CSV:", range(20)),
    "{{ df | head }}": ("First 5 of 500 rows as CSV:", range(5)),
    "{{ df | tail(3) }}": ("Last 3 of 500 rows as CSV:", [497, 498, 499]),
    "{{ df | sample(3) }}": ("Random 3 of 500 rows as CSV:", [90, 254, 283]),
    "{{ df.sample(3) }}": ("Random 3 of 500 rows as CSV:", [90, 254, 283]),
    "{{ df | sample(2, random_state=1) }}": ("Random 2 of 500 rows as CSV:", [304, 340]),
    "{{ df | head(900) }}": ("Rows as CSV:", range(500)),
}


@pytest.mark.parametrize("prompt", CHOICES)
def test_rows_that_the_prompt_chooses_are_sent_all_and_whole_and_the_same_every_time(prompt):
    table = many()
    heading, chosen = CHOICES[prompt]
    sent = fill_in(prompt, {"df": table})
    assert sent.startswith("DataFrame of 500 rows and 2 columns:\n")
    assert f"\n{heading}\n" in sent
    rows = sent.partition(f"\n{heading}\n")[2].splitlines()[1:]
    labels = [] if isinstance(chosen, range) else chosen
    assert rows == [f"{f'{i},' if labels else ''}{'a long review ' * 10}{i},{i}" for i in chosen]
    assert fill_in(prompt, {"df": table}) == sent


def test_chosen_rows_are_a_table_for_what_follows():
    values = {"df": many(), "df2": orders()}
    assert fill_in("{{ (df | head(2)).stars.sum() }} {{ df | tail(2) | length }}", values) == "1 2"
    assert fill_in("{{ df.stars | tail(2) }}", values).endswith(
        "Last 2 of 500 rows as CSV:\nindex,stars\n498,498\n499,499"
    )
    assert fill_in("{{ df.stars | head(2) }}", values).endswith("; first 2 of 500 values: 0, 1")
    assert fill_in("{{ df2 | describe }}", values) == summarize_value(orders().describe())
    assert fill_in("{{ df2.groupby('city') | head(1) | length }}", values) == "2"


@pytest.mark.parametrize("prompt", ["{{ word | head(2) }}", "{{ [1, 2] | sample(1) }}", "{{ n | describe }}"])
def test_what_has_no_rows_is_refused_in_one_sentence(prompt):
    with pytest.raises((MagicError, LLMError), match="which has no such attribute or item"):
        fill_in(prompt, {"word": "tea", "n": 1})


def test_tables_of_polars_are_sent_the_same_way():
    pl = pytest.importorskip("polars")
    table = pl.DataFrame({"city": ["Bern", None], "cups": [3, 5], "tags": [["a", "b"], None]})
    assert summarize_value(table) == text(
        """
        Polars DataFrame of 2 rows and 3 columns:
        - city: String, 1 missing
        - cups: Int64
        - tags: List(String), 1 missing
        Rows as CSV:
        city,cups,tags
        Bern,3,"['a', 'b']"
        ,5,
        """
    )
    assert summarize_value(table["cups"]) == (
        "Polars Series 'cups' of 2 values, Int64, from 3 to 5, mean 4; values: 3, 5"
    )
    assert (
        summarize_value(table["city"]) == "Polars Series 'city' of 2 values, String, 1 missing; values: 'Bern', missing"
    )
    assert summarize_value(pl.Series([None])) == "Polars Series of 1 value, Null, 1 missing; values: missing"


def test_rows_of_polars_are_chosen_the_same_way():
    pl = pytest.importorskip("polars")
    table = pl.DataFrame({"n": range(10, 9_999)})
    sent = fill_in("{{ q | head(2) }}\n{{ q | sample(1) }}\n{{ q.n | tail(2) }}", {"q": table})
    assert "\nFirst 2 of 9,989 rows as CSV:\nn\n10\n11\n" in sent
    assert "\nRandom 1 of 9,989 rows as CSV:\nn\n" in sent
    assert sent.endswith("; last 2 of 9,989 values: 9997, 9998")
    assert fill_in("{{ q | head(2) }}\n{{ q | sample(1) }}\n{{ q.n | tail(2) }}", {"q": table}) == sent
    assert "\nFirst 260 of 9,989 rows as CSV:" in fill_in("{{ q }}", {"q": table})
