"""Templates that people write for their data: each of the table is filled in with this text."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pytest

from ipyllm.errors import LLMError
from ipyllm.templates.sandbox import SandboxedTemplate
from tests.service.templates.variables import Hostile, effects, variables

ORDINARY = {
    # text and numbers
    "Hello {{ name }}!": "Hello Ada Lovelace!",
    "{{ name.upper() }} {{ name | lower }} {{ name.split()[0] }}": "ADA LOVELACE ada lovelace Ada",
    "{{ name[:3] }} {{ name[-1] }} {{ name | length }} {{ name.count('a') }}": "Ada e 12 2",
    "{{ text.replace('longer', 'short') }} {{ text | title | truncate(8) }}": "some short text Some...",
    "{{ text.startswith('some') }} {{ 'long' in text }} {{ text.find('l') }}": "True True 5",
    "{{ ', '.join(['a', 'b']) }} {{ ['a', 'b'] | join(' and ') }}": "a, b a and b",
    "{{ '  x ' | trim }}{{ 'y'.center(3) }}|{{ 'a-b'.partition('-') }}": "x y |('a', '-', 'b')",
    "{{ '%.2f' % x }} {{ '%s is %d' % (name, n) }} {{ '%05.1f' | format(x) }}": "3.14 Ada Lovelace is 5 003.1",
    "{{ '{:.1f} {:>4}'.format(x, n) }} {{ '{a} {b[x]}'.format(a=1, b={'x': 2}) }}": "3.1    5 1 2",
    "{{ x | round(2) }} {{ x | int }} {{ n / 2 }} {{ n // 2 }} {{ n % 3 }} {{ 2 ** 10 }} {{ -n }}": (
        "3.14 3 2.5 2 2 1024 -5"
    ),
    "{{ 10 ** 400 == 10 ** 200 * 10 ** 200 }} {{ 2 ** -1 }} {{ -2 ** 2 }}": "True 0.5 4",
    "{{ n > 3 and x < 4 }} {{ 1 < n <= 5 }} {{ n is odd }} {{ n == 5.0 }} {{ not yes }}": "True True True True False",
    "{{ nothing }} {{ nothing is none }} {{ missing | default('-') }} {{ missing is defined }}": "None True - False",
    "{{ price + 1 }} {{ uid }}": "2.50 00000000-0000-0000-0000-000000000001",
    "{{ 1234567 | filesizeformat }} {{ ('a b' | urlencode) }} {{ '<a>' | e }} {{ '<b>x</b>' | striptags }}": (
        "1.2 MB a%20b &lt;a&gt; x"
    ),
    # lists, dicts, sets
    "{{ sizes | sort }} {{ sizes | max }} {{ sizes | sum }} {{ sizes | first }} {{ sizes[1:] }}": (
        "[1, 2, 3] 3 6 3 [1, 2]"
    ),
    "{{ sizes + [4] }} {{ 2 in sizes }} {{ sizes.index(2) }} {{ sizes | reverse | list }}": (
        "[3, 1, 2, 4] True 2 [2, 1, 3]"
    ),
    "{{ pair[0] }}{{ pair[1] }} {{ tags | sort | join }} {{ 'a' in tags }}": "1a ab True",
    "{{ scores.Ada }} {{ scores['Bob'] }} {{ scores.get('Eve', 0) }} {{ scores | dictsort }}": (
        "3 1 0 [('Ada', 3), ('Bob', 1)]"
    ),
    "{% for key, value in scores.items() %}{{ key }}={{ value }};{% endfor %}": "Ada=3;Bob=1;",
    "{{ scores.keys() | list }} {{ scores.values() | sum }} {{ scores | length }}": "['Ada', 'Bob'] 4 2",
    "{{ nested.user.name }} {{ nested['user']['tags'][1] }}": "Ada y",
    "{{ counts.most_common(1) }} {{ by_default.a }} {{ counts['l'] }}": "[('l', 2)] [1] 2",
    "{{ records | map(attribute='city') | join(', ') }}": "Bern, Oslo, Rome, Bern",
    "{{ records | selectattr('cups', 'gt', 2) | map(attribute='city') | list }}": "['Bern', 'Oslo']",
    "{{ records | sum(attribute='cups') }} {{ records | map(attribute='city') | unique | list }}": (
        "11 ['Bern', 'Oslo', 'Rome']"
    ),
    "{% for city, rows in records | groupby('city') %}{{ city }}: {{ rows | length }} {% endfor %}": (
        "Bern: 2 Oslo: 1 Rome: 1 "
    ),
    "{{ sizes | map('string') | join('-') }} {{ [1, 2, 3] | select('odd') | list }}": "3-1-2 [1, 3]",
    "{{ {'a': [1, none]} | tojson }} {{ [[1], [2]] | sum(start=[]) }}": '{"a": [1, null]} [1, 2]',
    "{{ records[0] | tojson }} {{ today | tojson }}": '{"city": "Bern", "cups": 3} "2024-05-06"',
    # statements
    "{% for size in sizes %}{{ loop.index }}/{{ loop.length }}:{{ size }}{{ ', ' if not loop.last }}{% endfor %}": (
        "1/3:3, 2/3:1, 3/3:2"
    ),
    "{% for size in sizes if size > 1 %}{{ size }}{% else %}none{% endfor %}": "32",
    "{% for key in {} %}x{% else %}nothing{% endfor %}": "nothing",
    "{% if df %}rows{% endif %} {% if df.head(0) %}rows{% else %}none{% endif %}": "rows none",
    "{% if n > 10 %}many{% elif n > 3 %}some{% else %}few{% endif %}": "some",
    "{% set total = sizes | sum %}{% set line %}({{ total }}){% endset %}{{ line }}": "(6)",
    "{% set ns = namespace(sum=0) %}{% for i in sizes %}{% set ns.sum = ns.sum + i %}{% endfor %}{{ ns.sum }}": "6",
    "{% macro item(x, mark='-') %}{{ mark }} {{ x }}{% endmacro %}{{ item('a') }} {{ item(1, mark='*') }}": "- a * 1",
    "{% macro box() %}[{{ caller() }}]{% endmacro %}{% call box() %}x{% endcall %}": "[x]",
    "{% with a = n + 1 %}{{ a }}{% endwith %} {% filter upper %}abc{% endfilter %}": "6 ABC",
    "{% for i in range(3) %}{{ i }}{% endfor %} {{ range(2, 8, 3) | list }}": "012 [2, 5]",
    "{% raw %}{{ raw }}{% endraw %} {# no comment #} {single}": "{{ raw }} {# no comment #} {single}",
    "{% for n in sizes %}{{ loop.cycle('a', 'b') }}{{ loop.previtem | default('-') }}{% endfor %}": "a-b3a1",
    "{{ name ~ ' is ' ~ n }} {{ 'a' if yes else 'b' }}": "Ada Lovelace is 5 a",
    # dates
    "{{ now.strftime('%d.%m.%Y %H:%M') }} {{ now.year }} {{ today.isoformat() }}": "06.05.2024 07:08 2024 2024-05-06",
    "{{ (now - took).minute }} {{ took.total_seconds() }} {{ now.date() == today }} {{ stamp.day_name() }}": (
        "6 90.0 True Monday"
    ),
    # objects
    "{{ order.city }} {{ order.cups * 2 }} {{ order }}": "Bern 6 Order(city='Bern', cups=3, note=None)",
    "{{ city.name }} {{ '{:,}'.format(city.inhabitants) }}": "Bern 130,000",
    "{{ size.name }} {{ size.value }} {{ point.x }} {{ point[1] }} {{ point }}": "SMALL 1 1 2 Point(x=1, y=2)",
    "{{ path.name }} {{ path.stem }} {{ path.suffix }}": "report.csv report .csv",
    "{{ answer.content }} {{ answer.usage.output_tokens }}": "Hello! 2",
    # pandas
    "{{ df.shape }} {{ df | length }} {{ df.columns.tolist() }}": "(4, 4) 4 ['city', 'cups', 'price', 'day']",
    "{{ df.head(1).to_csv(index=False) }}": "city,cups,price,day\nBern,3,1.5,2024-01-01\n",
    "{{ df[['city', 'cups']].head(2).to_string(index=False) }}": "city  cups\nBern     3\nOslo     5",
    "{{ df[['city', 'cups']].to_dict('records')[1] }}": "{'city': 'Oslo', 'cups': 5}",
    "{{ df[['cups', 'day']].tail(1).to_dict('records') | tojson }}": '[{"cups": 1, "day": "2024-01-04T00:00:00"}]',
    "{{ df.describe().loc['mean', 'cups'] }} {{ df.cups.describe()['max'] }}": "2.75 5.0",
    "{{ df.cups.mean() }} {{ cups.sum() }} {{ cups.max() }} {{ cups.std() | round(3) }} {{ cups.median() }}": (
        "2.75 11 5 1.708 2.5"
    ),
    "{{ df['city'].value_counts().to_dict() }} {{ df.city.nunique() }} {{ df.city.unique() | join('/') }}": (
        "{'Bern': 2, 'Oslo': 1, 'Rome': 1} 3 Bern/Oslo/Rome"
    ),
    "{{ df.loc[1, 'city'] }} {{ df.iloc[-1].cups }} {{ df.iloc[0:2, 1].tolist() }} {{ df.at[2, 'city'] }}": (
        "Oslo 1 [3, 5] Rome"
    ),
    "{% for row in df.itertuples() if row.cups > 2 %}{{ row.city }} {% endfor %}": "Bern Oslo ",
    "{{ 'city' in df.columns }} {{ 'town' in df.columns }} {{ 'cups' in df }}": "True False True",
    "{{ df.sort_values('cups', ascending=False).city.iloc[0] }} {{ df.nlargest(1, 'cups').city.item() }}": "Oslo Oslo",
    "{{ df.groupby('city').cups.sum().to_dict() }} {{ groups.size()['Bern'] }}": "{'Bern': 4, 'Oslo': 5, 'Rome': 2} 2",
    "{{ df.groupby('city')['cups'].mean().to_dict() }} {{ df.groupby(['city', 'cups']).size() | length }}": (
        "{'Bern': 2.0, 'Oslo': 5.0, 'Rome': 2.0} 4"
    ),
    "{{ df.groupby('city').mean().cups.tolist() }} {{ df.sum().to_dict() }}": (
        "[2.0, 5.0, 2.0] {'cups': 11.0, 'price': 6.75}"
    ),
    "{% for city, part in df.groupby('city') %}{{ city }}:{{ part.cups.sum() }} {% endfor %}": "Bern:4 Oslo:5 Rome:2 ",
    "{% for row in df.itertuples() %}{{ row.city }}={{ row.cups }} {% endfor %}": "Bern=3 Oslo=5 Rome=2 Bern=1 ",
    "{% for i, row in df.iterrows() %}{{ i }}{{ row.city }} {% endfor %}": "0Bern 1Oslo 2Rome 3Bern ",
    "{% for row in df.to_dict('records') %}{{ row.day.strftime('%d.%m.') }} {% endfor %}": (
        "01.01. 02.01. 03.01. 04.01. "
    ),
    "{% for name in df %}{{ name }}:{{ df[name].dtype }} {% endfor %}": (
        "city:str cups:int64 price:float64 day:datetime64[us] "
    ),
    "{{ df.isna().sum().to_dict() }} {{ df.price.isna().any() }} {{ df.dropna() | length }}": (
        "{'city': 0, 'cups': 0, 'price': 1, 'day': 0} True 3"
    ),
    "{{ cups.mean() * 2 + 1 }} {{ (cups.max() / cups.sum()) | round(2) }}": "6.5 0.45",
    "{{ df.city | map('upper') | unique | list }} {{ df.city | select('in', ['Bern']) | list | length }}": (
        "['BERN', 'OSLO', 'ROME'] 2"
    ),
    "{{ df.day[0].year }} {{ df.day.max().strftime('%B') }} {{ df.day[0].day_name() }}": "2024 January Monday",
    "{{ cups.quantile(0.25) }} {{ df.describe(include='all').loc['top', 'city'] }}": "1.75 Bern",
    "{{ df.sample(1, random_state=0).city.tolist() }} {{ df.set_index('city').loc['Oslo', 'cups'] }}": "['Rome'] 5",
    "{{ df.sample(1).city.item() }} {{ df.sample(1, random_state=none).city.item() }}": "Rome Rome",
    "{{ (df | head(1)).city.item() }} {{ (df | tail(1)).cups.item() }} {{ (cups | describe)['max'] }}": "Bern 1 5.0",
    "{{ (df | sample(2)).cups.tolist() }}": "[2, 1]",
    "{{ df.drop(columns=['day']).columns | length }} {{ cups.idxmax() }} {{ df.price.round(1)[0] }}": "3 1 1.5",
    "{{ cups | max }} {{ cups | list }} {{ cups | sum }} {{ cups | join('/') }} {{ cups | sort | first }}": (
        "5 [3, 5, 2, 1] 11 3/5/2/1 1"
    ),
    "{{ df.index.tolist() }} {{ df.dtypes['cups'] }} {{ df.empty }} {{ df.index.size }}": (
        "[0, 1, 2, 3] int64 False 4"
    ),
    # NumPy
    "{{ array.shape }} {{ array.mean() }} {{ array[1, 2] }} {{ array.tolist() }} {{ array.sum(axis=0).tolist() }}": (
        "(2, 3) 2.5 5 [[0, 1, 2], [3, 4, 5]] [3, 5, 7]"
    ),
    "{{ array.max() * 2 }} {{ array[0] }} {{ array[:, 1].tolist() }} {{ array.round(1).size }}": "10 [0 1 2] [1, 4] 6",
    # what is read as a plain value of its base class, or beside what may not be used
    "{{ hostile_text }} {{ hostile_text.upper() }} {{ [hostile_text] }} {{ hostile_text ~ '' }}": "abc ABC ['abc'] abc",
    "{{ hostile_dict }} {{ hostile_dict.a }} {{ hostile_dict.items() | list }}": "{'a': 1} 1 [('a', 1)]",
    "{{ hostile_list }} {{ hostile_list[0] }} {{ hostile_list | length }}": "[1, 2] 1 2",
    "{{ guarded.city }} {{ guarded }}": "Bern Guarded(city='Bern')",
    "{{ attributed.head(1).a.sum() }} {{ attributed.describe().loc['max', 'a'] }}": "1 2.0",
    "{{ mixed[0] }} {{ box.n }} {{ with_function.city }} {{ city.name }}": "1 1 Oslo Bern",
    "{% for key in box %}{{ key }}{% endfor %} {% if false %}{{ os.environ }}{% endif %}": "fmndeep ",
}


@pytest.fixture(scope="module")
def notebook():
    return variables()


@pytest.mark.parametrize(("text", "filled"), ORDINARY.items(), ids=[text[:60] for text in ORDINARY])
def test_a_template_reads_the_values_that_people_have(text, filled, notebook):
    effects.clear()
    assert SandboxedTemplate(text).render(notebook) == filled
    assert effects == []


def test_numbers_and_times_of_numpy_are_read_as_those_of_python():
    values = {
        "count": np.int64(3), "share": np.float32(0.1), "yes": np.bool_(True), "took": np.timedelta64(90, "s"),
        "day": np.datetime64("2024-05-06"), "never": np.datetime64("NaT"),
        "precise": np.datetime64("2024-05-06T07:08:09.123456789"),
    }  # fmt: skip
    given = []
    text = "{{ [count, share, yes] }}{{ took + took }}{{ day }}{{ never }}{{ precise }}{{ count * [1] }}"
    SandboxedTemplate(text, to_text=given.append).render(values)
    assert given == [
        [3, 0.1, True],
        dt.timedelta(seconds=180),
        dt.datetime(2024, 5, 6),  # noqa: DTZ001
        None,
        dt.datetime(2024, 5, 6, 7, 8, 9, 123456),  # noqa: DTZ001
        [1, 1, 1],
    ]


def test_columns_are_found_whatever_their_names():
    names = ["obj", "schema", "dtype", "value", "columns", "_shown", "a b", "attrs", "members", "shown"]
    table = pd.DataFrame([range(len(names))], columns=names)
    for number, name in enumerate(names):
        assert SandboxedTemplate("{{ t[name][0] }} {{ t[[name]].shape }}").render({"t": table, "name": name}) == (
            f"{number} (1, 1)"
        )
    filled = SandboxedTemplate("{{ t.obj[0] }}{{ t.schema[0] }}{{ t.members[0] }} {{ t.sum().size }}").render(
        {"t": table}
    )
    assert filled == "018 10"
    hostile = pd.DataFrame({"obj": [1], "o": [Hostile()]})
    with pytest.raises(LLMError, match="a DataFrame that holds a Hostile"):
        SandboxedTemplate("{{ t }}").render({"t": hostile})


def test_markdown_tables_are_written_by_tabulate(notebook):
    pytest.importorskip("tabulate")
    shown = SandboxedTemplate("{{ df[['city', 'cups']].head(1).to_markdown(index=False) }}").render(notebook)
    assert shown.splitlines()[0] == "| city   |   cups |"


POLARS = {
    "{{ q.shape }} {{ q.columns }} {{ q.height }} {{ q.schema }}": (
        "(2, 2) ['city', 'cups'] 2 {'city': 'String', 'cups': 'Int64'}"
    ),
    "{{ q.head(1).to_dicts() }} {{ q.cups.sum() }} {{ q['cups'].mean() }}": "[{'city': 'Bern', 'cups': 3}] 8 4.0",
    "{{ q.sort('cups', descending=True).row(0) }} {{ q[0, 'city'] }}": "('Oslo', 5) Bern",
    "{% for row in q.iter_rows(named=True) %}{{ row.city }} {% endfor %}": "Bern Oslo ",
    "{{ q.city.value_counts(sort=true).height }} {{ q[['cups']].width }} {{ q.cups.max() * 2 }}": "2 1 10",
    "{{ q.write_csv() }} {{ q.city | map('upper') | list }}": "city,cups\nBern,3\nOslo,5\n ['BERN', 'OSLO']",
}
POLARS_REFUSALS = {
    "{{ q.write_csv('/tmp/x') }}": "may not give write_csv() an argument",
    "{{ q.write_parquet('/tmp/x') }}": "may not use 'write_parquet' of a DataFrame",
    "{{ q.sql('select 1') }}": "may not use 'sql' of a DataFrame",
    "{{ q.map_rows }}": "may not use 'map_rows' of a DataFrame",
    "{{ q['ciyt'] }}": "uses 'ciyt' of a DataFrame, which has no such attribute or item; did you mean 'city'?",
    "{{ q.glimpse() }}": "may not use 'glimpse' of a DataFrame",
    "{{ q.select(expression) }}": "may not use expression, an Expr",
    "{{ lazy.collect() }}": "may not use lazy, a LazyFrame",
    "{{ objects }}": "may not use objects, a DataFrame that holds Python objects",
    "{{ q.city * 2 }}": "may not use a Series in an operation",
    "{{ pl.read_csv('/etc/passwd') }}": "may not use pl, a module",
}


@pytest.fixture(scope="module")
def polars_notebook():
    pl = pytest.importorskip("polars")
    return {
        "pl": pl,
        "q": pl.DataFrame({"city": ["Bern", "Oslo"], "cups": [3, 5]}),
        "expression": pl.col("city"),
        "lazy": pl.LazyFrame({"a": [1]}),
        "objects": pl.DataFrame({"a": [object()]}),
        "double": lambda value: 2 * value,
    }


@pytest.mark.parametrize(("text", "filled"), POLARS.items(), ids=list(POLARS))
def test_tables_of_polars_are_read(text, filled, polars_notebook):
    assert SandboxedTemplate(text).render(polars_notebook) == filled


@pytest.mark.parametrize(("text", "reason"), POLARS_REFUSALS.items(), ids=list(POLARS_REFUSALS))
def test_tables_of_polars_are_only_read(text, reason, polars_notebook):
    from tests.service.templates.test_refusals import refusal

    assert reason in refusal(text, polars_notebook)
