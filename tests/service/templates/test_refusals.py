"""What templates may not do: each template of the table is refused by one sentence, and no code of the user's runs."""

from __future__ import annotations

import pytest

from ipyllm.errors import LLMError
from ipyllm.templates.sandbox import SandboxedTemplate, UndefinedNameError
from tests.service.templates.variables import effects, variables

CELL = "compute it in a cell and assign the result to a name."
UNDERSCORE = "because of the underscore at its beginning"

NAMES = {
    "{{ __builtins__.get_ipython().getoutput('id -u') }}": "may not use __builtins__, because of the underscore",
    "{{ __builtins__ }}": UNDERSCORE,
    "{{ __builtins__.open('/etc/passwd').read() }}": UNDERSCORE,
    "{{ _hidden }}": "may not use _hidden, because of the underscore at its beginning: assign it to another name.",
    "{{ _ih[0] }}": UNDERSCORE,
    "{{ pd }}": "may not use pd, a module: " + CELL,
    "{{ pd.io.pickle.pickle.loads('x') }}": "pd, a module",
    "{{ pd.io.common.os.environ }}": "pd, a module",
    '{{ pd.read_csv("/proc/self/environ") }}': "pd, a module",
    '{{ pd.read_csv("http://localhost:1/?" ~ name) }}': "pd, a module",
    "{{ pd.eval('1') }}": "pd, a module",
    "{{ pd.DataFrame({'a': [1]}).to_csv('/tmp/x') }}": "pd, a module",
    "{{ np.save('/tmp/x', array) }}": "np, a module",
    "{{ np.load('/tmp/x', allow_pickle=true) }}": "np, a module",
    "{{ os.environ }}": "os, a module",
    "{{ os['environ'] }}": "os, a module",
    "{{ os | attr('environ') }}": "No filter named 'attr'",
    "{{ os.path.join('a', 'b') }}": "os, a module",
    "{{ sys.modules['os'].environ }}": "sys, a module",
    "{{ io.FileIO('/etc/passwd').read() }}": "io, a module",
    "{{ io.open('/tmp/x', 'w') }}": "io, a module",
    "{{ subprocess.Popen('id') }}": "subprocess, a module",
    "{{ operator.methodcaller('to_csv', '/tmp/x')(df) }}": "operator, a module",
    "{{ operator.attrgetter('__class__')(df) }}": "operator, a module",
    "{{ timeit.timeit('import os') }}": "timeit, a module",
    "{{ runpy.run_path('/tmp/x') }}": "runpy, a module",
    "{{ pathlib.Path('/tmp/x').write_text('') }}": "pathlib, a module",
    "{{ codecs.open('/tmp/x', 'w') }}": "codecs, a module",
    "{{ builtins.open('/tmp/x') }}": "builtins, a module",
    "{{ functools.partial(reader, '/etc/passwd')() }}": "functools, a module",
    "{{ types.FunctionType }}": "types, a module",
    "{{ Path }}": "may not use Path, a class: " + CELL,
    "{{ Path('/etc/passwd').read_text() }}": "Path, a class",
    "{{ Popen('id') }}": "Popen, a class",
    "{{ Order('Bern', 1) }}": "Order, a class",
    "{{ Hostile() }}": "Hostile, a class",
    "{{ Hostile[1] }}": "Hostile, a class",
    "{{ run('env', shell=True) }}": "run, a function",
    "{{ reader('/etc/passwd').read() }}": "reader, a function",
    "{{ getenv('HOME') }}": "getenv, a function",
    "{{ evaluate('1') }}": "evaluate, a function",
    "{{ printer('x') }}": "printer, a function",
    "{{ double(2) }}": "or register the function with ipyllm.template_function.",
    "{{ double }}": "double, a function",
    "{{ double.__globals__ }}": "double, a function",
    "{{ method() }}": "method, a function",
    "{{ wrapper() }}": "wrapper, a function",
    "{{ partial('/etc/passwd') }}": "partial, a partial",
    "{{ getter(df) }}": "getter, a methodcaller",
    "{{ env }}": "env, a _Environ",
    "{{ env.HOME }}": "env, a _Environ",
    "{{ env['HOME'] }}": "env, a _Environ",
    "{{ env | dictsort }}": "env, a _Environ",
    "{% for name in env %}{{ name }}{% endfor %}": "env, a _Environ",
    "{{ dict(env) }}": "env, a _Environ",
    "{{ '%s' % env }}": "env, a _Environ",
    "{{ service }}": "service, an OpenAIService",
    "{{ service.chat('Hi') }}": "service, an OpenAIService",
    "{{ generator | list }}": "generator, a generator",
    "{% for value in iterator %}{{ value }}{% endfor %}": "iterator, a list_iterator",
    "{{ stream.read() }}": "stream, a StringIO",
    "{{ secret.get_secret_value() }}": "secret, a SecretStr",
    "{{ secret }}": "secret, a SecretStr",
    "{{ error_value }}": "error_value, a ValueError",
    "{{ mapping.a }}": "mapping, a mappingproxy",
    "{{ space.a }}": "space, a SimpleNamespace",
    "{{ plain_object.key }}": "plain_object, a Plain",
    "{{ lying }}": "lying, a Lying",
    "{{ lying.x }}": "lying, a Lying",
    "{{ moment }}": "moment, a datetime that has a time zone of its own",
    "{{ huge | int }}": "huge, a Decimal that has an exponent above 400",
}

HOSTILE = {
    "{{ hostile }}": "hostile, a Hostile",
    "{{ hostile.anything }}": "hostile, a Hostile",
    "{{ hostile['x'] }}": "hostile, a Hostile",
    "{{ hostile() }}": "hostile, a Hostile",
    "{{ hostile ~ '' }}": "hostile, a Hostile",
    "{{ hostile + 1 }}": "hostile, a Hostile",
    "{{ '%s' % hostile }}": "hostile, a Hostile",
    "{{ '{}'.format(hostile) }}": "hostile, a Hostile",
    "{{ hostile == 1 }}": "hostile, a Hostile",
    "{{ 1 in hostile }}": "hostile, a Hostile",
    "{{ hostile in [1] }}": "hostile, a Hostile",
    "{{ {hostile: 1} }}": "hostile, a Hostile",
    "{{ {'a': hostile} }}": "hostile, a Hostile",
    "{{ [hostile] }}": "hostile, a Hostile",
    "{{ (hostile, 1) | first }}": "hostile, a Hostile",
    "{% if hostile %}yes{% endif %}": "hostile, a Hostile",
    "{{ not hostile }}": "hostile, a Hostile",
    "{{ 'a' if hostile else 'b' }}": "hostile, a Hostile",
    "{% for item in hostile %}{% endfor %}": "hostile, a Hostile",
    "{{ hostile | string }}": "hostile, a Hostile",
    "{{ hostile | e }}": "hostile, a Hostile",
    "{{ hostile | length }}": "hostile, a Hostile",
    "{{ hostile | default('x') }}": "hostile, a Hostile",
    "{{ hostile | tojson }}": "hostile, a Hostile",
    "{{ hostile is mapping }}": "hostile, a Hostile",
    "{{ [3, 1] | sort(attribute=hostile) }}": "hostile, a Hostile",
    "{{ sizes[hostile] }}": "hostile, a Hostile",
    "{{ sizes[hostile:] }}": "hostile, a Hostile",
    "{{ df[hostile] }}": "hostile, a Hostile",
    "{{ df.head(hostile) }}": "hostile, a Hostile",
    "{{ mixed }}": "a module in mixed",
    "{{ mixed[1].environ }}": "a module in mixed",
    "{{ mixed[2]('x') }}": "a function in mixed",
    "{{ mixed[3] }}": "a Hostile in mixed",
    "{{ mixed | join }}": "a module in mixed",
    "{{ mixed | map('string') | list }}": "a module in mixed",
    "{{ mixed | sort }}": "a module in mixed",
    "{{ mixed | unique | list }}": "a module in mixed",
    "{{ mixed == [1, 2, 3, 4] }}": "a module in mixed",
    "{{ mixed ~ '' }}": "a module in mixed",
    "{{ '%s' % mixed }}": "a module in mixed",
    "{{ mixed * 2 }}": "a module in mixed",
    "{% for item in mixed %}{{ item }}{% endfor %}": "a module in mixed",
    "{{ box }}": "a function in box",
    "{{ box.f('x') }}": "a function in box",
    "{{ box['m'].environ }}": "a module in box",
    "{{ box.m | attr('environ') }}": "No filter named 'attr'",
    "{{ box.deep[0][0].HOME }}": "a _Environ in box",
    "{{ box.deep | first | first | dictsort }}": "a _Environ in box",
    "{{ box | tojson }}": "a function in box",
    "{{ box | dictsort }}": "in box",
    "{{ box.items() | list }}": "a function in box",
    "{{ box.get('f')('x') }}": "a function in box",
    "{{ with_function.note('x') }}": "a function in with_function",
    "{{ with_function }}": "a function in with_function",
    "{{ with_hostile.note }}": "a Hostile in with_hostile",
    "{{ keyed }}": "keyed, a dict that holds what it may not",
    "{{ hostile_set }}": "hostile_set, a set that holds what it may not",
    "{{ cyclic }}": "a list that contains itself in cyclic",
    "{{ city }}": "a SecretStr in city",
    "{{ city.key.get_secret_value() }}": "a SecretStr in city",
    "{{ objects }}": "objects, a DataFrame that holds a Hostile",
    "{{ objects.o[0] }}": "that holds a Hostile",
    "{{ functions }}": "functions, a Series that holds a function",
    "{{ categories }}": "categories, a Series that holds a Hostile",
    "{{ labels }}": "labels, a DataFrame that holds a Hostile",
    "{{ levels }}": "levels, a Series that holds a Hostile",
    "{{ named }}": "named, a Series that holds a Hostile",
    "{{ grouped.size() }}": "a DataFrameGroupBy that holds a Hostile",
    "{{ strange[0] }}": "strange, a ndarray that holds a Hostile",
}

ATTRIBUTES = {
    "{{ ''.__class__.__mro__ }}": f"may not use '__class__', {UNDERSCORE}",
    "{{ ''['__class__'] }}": UNDERSCORE,
    "{{ '' | attr('__class__') }}": "No filter named 'attr'",
    "{{ ''.format.__self__ }}": UNDERSCORE,
    "{{ '{0.__class__}'.format(name) }}": UNDERSCORE,
    "{{ '{0[__class__]}'.format(name) }}": UNDERSCORE,
    "{{ '{0.to_csv}'.format(df) }}": "'to_csv', which has to be called, as a value",
    "{{ df.__class__ }}": UNDERSCORE,
    "{{ df._mgr }}": UNDERSCORE,
    "{{ records | map(attribute='__class__') | list }}": UNDERSCORE,
    "{{ records | groupby('__class__') }}": UNDERSCORE,
    "{{ records | map('attr', '__class__') | list }}": "No filter named 'attr'",
    "{{ records | selectattr('__class__') | list }}": UNDERSCORE,
    "{{ range.__class__ }}": UNDERSCORE,
    "{{ namespace.__init__ }}": UNDERSCORE,
    "{{ cycler.__init__.__globals__ }}": UNDERSCORE,
    "{{ joiner.__init__ }}": UNDERSCORE,
    "{{ self.__init__ }}": UNDERSCORE,
    "{{ self }}": "a TemplateReference, as a value",
    "{% macro m() %}{% endmacro %}{{ m.name }}": "may not use 'name' of a function",
    "{% macro m() %}{% endmacro %}{{ m }}": "as a value",
    "{% macro m() %}{% endmacro %}{{ m | string }}": "as a value",
    "{% for i in [1] %}{{ loop._iterable }}{% endfor %}": UNDERSCORE,
    "{% for i in [1] %}{{ loop }}{% endfor %}": "a LoopContext, as a value",
    "{{ order.__dict__ }}": UNDERSCORE,
    "{{ order.__init__.__globals__ }}": UNDERSCORE,
    "{{ sizes.append(1) }}": "may not use 'append' of a list: " + CELL,
    "{{ sizes.sort() }}": "'sort' of a list",
    "{{ sizes['pop']() }}": "'pop' of a list",
    "{{ scores.update(a=1) }}": "'update' of a dict",
    "{{ scores.pop('Ada') }}": "'pop' of a dict",
    "{{ scores.setdefault('x', 1) }}": "'setdefault' of a dict",
    "{{ tags.add('x') }}": "'add' of a set",
    "{{ name.encode('zlib') }}": "'encode' of a str",
    "{{ name.translate({}) }}": "'translate' of a str",
    "{{ name.format_map({}) }}": "'format_map' of a str",
    "{{ path.read_text() }}": "no such attribute",
    "{{ now.astimezone() }}": "'astimezone' of a datetime",
    "{{ df.to_pickle('/tmp/x') }}": "may not use 'to_pickle' of a DataFrame: " + CELL,
    "{{ df.to_parquet('/tmp/x') }}": "'to_parquet' of a DataFrame",
    "{{ df.to_sql('t', 'sqlite://') }}": "'to_sql' of a DataFrame",
    "{{ df.to_clipboard() }}": "'to_clipboard' of a DataFrame",
    "{{ df.to_excel('/tmp/x') }}": "'to_excel' of a DataFrame",
    "{{ df.query('cups > 1') }}": "'query' of a DataFrame",
    "{{ df.eval('cups') }}": "'eval' of a DataFrame",
    "{{ df.apply('to_csv', args=('/tmp/x',)) }}": "'apply' of a DataFrame",
    "{{ df.pipe(double) }}": "'pipe' of a DataFrame",
    "{{ df.map(double) }}": "'map' of a DataFrame",
    "{{ df.transform('to_csv') }}": "'transform' of a DataFrame",
    "{{ df.info() }}": "'info' of a DataFrame",
    "{{ df.plot() }}": "'plot' of a DataFrame",
    "{{ df.insert(0, 'a', 1) }}": "'insert' of a DataFrame",
    "{{ df.pop('city') }}": "'pop' of a DataFrame",
    "{{ df.update(df) }}": "'update' of a DataFrame",
    "{{ df.attrs }}": "'attrs' of a DataFrame",
    "{{ cups.map(double) }}": "'map' of a Series",
    "{{ cups.repeat(1000000000) }}": "'repeat' of a Series",
    "{{ df.city.str.repeat(1000000000) }}": "'repeat' of a StringMethods",
    "{{ df.city.str.replace('a', 'b') }}": "'replace' of a StringMethods",
    "{{ groups.apply(double) }}": "'apply' of a DataFrameGroupBy",
    "{{ groups.pipe(double) }}": "'pipe' of a DataFrameGroupBy",
    "{{ array.tofile('/tmp/x') }}": "'tofile' of a ndarray",
    "{{ array.dump('/tmp/x') }}": "'dump' of a ndarray",
    "{{ array.sort() }}": "'sort' of a ndarray",
    "{{ array.fill(0) }}": "'fill' of a ndarray",
    "{{ array.ctypes }}": "'ctypes' of a ndarray",
}

ARGUMENTS = {
    "{{ df.to_csv('/tmp/x') }}": "may not give 'path_or_buf' to to_csv(): " + CELL,
    "{{ df.to_csv(path_or_buf='/tmp/x') }}": "'path_or_buf' to to_csv()",
    "{{ df.to_csv(**{'path_or_buf': '/tmp/x'}) }}": "'path_or_buf' to to_csv()",
    "{{ df.to_csv(*['/tmp/x']) }}": "'path_or_buf' to to_csv()",
    "{{ df['to_csv']('/tmp/x') }}": "'path_or_buf' to to_csv()",
    "{{ (df | attr('to_csv'))('/tmp/x') }}": "No filter named 'attr'",
    "{{ df.to_json('/tmp/x') }}": "'path_or_buf' to to_json()",
    "{{ df.to_markdown('/tmp/x') }}": "'buf' to to_markdown()",
    "{{ df.to_string('/tmp/x') }}": "'buf' to to_string()",
    "{{ df.to_html(buf='/tmp/x') }}": "'buf' to to_html()",
    "{{ df.to_json(default_handler=df.head) }}": "'head', which has to be called, as a value",
    "{{ df.to_string(formatters=[double]) }}": "double, a function",
    "{{ df.to_csv(float_format='%1000000000f') }}": "may not use a format of more than 100 characters or a width",
    "{{ df.sort_values('cups', key=double) }}": "double, a function",
    "{{ df.sort_values('cups', inplace=true) }}": "'inplace' to sort_values()",
    "{{ df.fillna(0, inplace=true) }}": "'inplace' to fillna()",
    "{{ df.groupby(double).size() }}": "double, a function",
    "{{ df.groupby(df.head).size() }}": "'head', which has to be called, as a value",
    "{{ df.agg('to_csv') }}": "may not aggregate by 'to_csv', only by all, any, count",
    "{{ df.agg('to_pickle', path='/tmp/x') }}": "may not aggregate by",
    "{{ df.agg(['sum', 'to_csv']) }}": "may not aggregate by 'to_csv'",
    "{{ df.agg({'cups': 'to_csv'}) }}": "may not aggregate by 'to_csv'",
    "{{ cups.agg('to_pickle') }}": "may not aggregate by 'to_pickle'",
    "{{ groups.agg('apply') }}": "may not aggregate by 'apply'",
    "{{ groups.agg(x=('cups', 'to_csv')) }}": "may not aggregate by 'to_csv'",
    "{{ groups.cups.agg(double) }}": "double, a function",
    "{{ df.sample(1000000000, replace=true, random_state=0) }}": "'replace' to sample()",
    "{{ cups.sum(out=array) }}": "'out' to sum()",
    "{{ array.sum(out=array) }}": "'out' to sum()",
    "{{ array.sum(0, none, array) }}": "'out' to sum()",
    "{{ cups.value_counts(bins=1000000000) }}": "'bins' to value_counts()",
    "{{ df.city.str.contains('(a+)+$') }}": "may not use the regular expression '(a+)+$'",
    "{{ df.corr(method=double) }}": "double, a function",
    "{{ df.loc[double] }}": "double, a function",
    "{{ df.loc[df.head] }}": "'head', which has to be called, as a value",
    "{% macro m(x) %}{% endmacro %}{{ df.groupby(m).size() }}": "as a value",
    "{{ now.strftime('%Y' * 1000) }}": "may not use a format of more than 100 characters",
}

DOUBLED = (
    "{% set ns = namespace(s=[1], t=[1]) %}{% for i in range(40) %}"
    "{% set ns.s = [ns.s, ns.s] %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}"
)

TOO_MUCH = {
    "{{ '%1000000000d' % 1 }}": "may not use a placeholder with a width above 999",
    "{{ '%.1000000000f' % 1 }}": "a width above 999",
    "{{ '%*d' % (1000000000, 1) }}": "a width above 999 or of '*'",
    "{{ '%1000000000d' | format(1) }}": "a width above 999",
    "{{ '%(a)1000000000d' % {'a': 1} }}": "a width above 999",
    "{{ '{:1000000000}'.format(1) }}": "a width above 999",
    "{{ '{:{w}}'.format(1, w=1000000000) }}": "a width above 999",
    "{{ ('{0}' * 9000).format('x' * 9000) }}": "makes something of more than",
    "{{ 'a' * 1000000000 }}": "makes something of more than",
    "{{ 1000000000 * 'a' }}": "makes something of more than",
    "{{ [0] * 1000000000 }}": "makes something of more than",
    "{{ (0,) * 1000000000 }}": "makes something of more than",
    "{{ 9 ** 99999999 }}": "computes a number of more than 4,300 digits",
    "{{ (third ** 99999999) }}": "computes a number of more than 4,300 digits",
    "{{ price ** 99999999 }}": "Overflow",
    "{{ 'a' | center(1000000000) }}": "makes something of more than",
    "{{ 'a'.center(1000000000) }}": "makes something of more than",
    "{{ 'a'.ljust(1000000000) }}": "makes something of more than",
    "{{ 'a'.rjust(1000000000) }}": "makes something of more than",
    "{{ 'a'.zfill(1000000000) }}": "makes something of more than",
    "{{ '\t'.expandtabs(1000000000) }}": "makes something of more than",
    "{{ 'a' | indent(1000000000, true) }}": "makes something of more than",
    "{{ ('a' * 9000).replace('a', 'b' * 9000) }}": "makes something of more than",
    "{{ ('a' * 9000) | replace('a', 'b' * 9000) }}": "makes something of more than",
    "{{ ('a' * 9000).join('b' * 9000) }}": "makes something of more than",
    "{{ ('b' * 9000) | join('a' * 9000) }}": "makes something of more than",
    "{{ [1] | batch(1000000000, 0) | list }}": "makes something of more than",
    "{{ [1] | slice(1000000000) | list }}": "makes something of more than",
    "{{ range(1000000000) }}": "OverflowError: Range too big",
    "{{ 1 | round(-1000000000) }}": "may not round to more than 100 places",
    "{{ 1 | round(1000000000, 'ceil') }}": "may not round to more than 100 places",
    "{{ df.round(-1000000000) }}": "may not round to more than 100 places",
    "{{ df.round({'cups': 1000000000}) }}": "may not round to more than 100 places",
    "{{ scores | tojson(1000000000) }}": "makes something of more than",
    "{% set ns = namespace(s='a') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}": (
        "makes something"
    ),
    "{% set ns = namespace(s='a') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}": (
        "makes something"
    ),
    "{% set ns = namespace(s=[1]) %}{% for i in range(45) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}": (
        "makes something of more than"
    ),
    "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = [ns.s] %}{% endfor %}{{ ns.s }}": (
        "nests lists more than 50 deep"
    ),
    "{% set ns = namespace(s=(1,)) %}{% for i in range(99999) %}{% set ns.s = (ns.s,) %}{% endfor %}{{ {ns.s: 1} }}": (
        "nests lists more than 50 deep"
    ),
    DOUBLED + "{{ '{0!r}'.format(ns.s) }}": "makes something of more than",
    DOUBLED + "{{ ns.s == ns.t }}": "makes something of more than",
    DOUBLED + "{{ ns.s in [ns.t] }}": "makes something of more than",
    DOUBLED + "{{ ns.s | tojson }}": "makes something of more than",
    DOUBLED + "{{ ns.s | string }}": "makes something of more than",
    DOUBLED + "{{ ns.s ~ '' }}": "makes something of more than",
    DOUBLED + "{{ '%s' % ns.s }}": "makes something of more than",
    DOUBLED + "{{ scores.get(ns.s) }}": "makes something of more than",
    "{{ 2 ** (third * 300000000) }}": "computes a number of more than 4,300 digits",
    "{% set ns = namespace(f=third) %}{% for i in range(60) %}{% set ns.f = ns.f + 1 / (ns.f + 7) %}{% endfor %}": (
        "computes a number of more than 4,300 digits"
    ),
    "{% set df.city = 1 %}": "cannot assign attribute on non-namespace object",
    "{% set ns = namespace(n=3) %}{% for i in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}": (
        "computes a number of more than 4,300 digits"
    ),
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}": "takes more than 1,000,000 steps",
    "{% for i in range(99999) %}" + "x" * 999 + "{% endfor %}": "makes something of more than",
    "{% macro m() %}" + "x" * 9999 + "{% endmacro %}{% for i in range(9999) %}{% set a = m() %}{% endfor %}": (
        "makes something of more than"
    ),
    "{% macro m(n) %}{{ m(n) }}{% endmacro %}{{ m(1) }}": "is nested too deeply",
    "{% for i in [[1]] recursive %}{{ loop([[1]]) }}{% endfor %}": "is nested too deeply",
    "{{ " + "(" * 500 + "1" + ")" * 500 + " }}": "is nested too deeply",
    "{{ " + "[" * 3000 + "]" * 3000 + " }}": "is nested too deeply",
    "{{ " + "-" * 5000 + "1 }}": "is nested too deeply",
    "{% if 1 %}" * 3000 + "{% endif %}" * 3000: "is nested too deeply",
    "{% for i in [1] %}" * 30 + "{% endfor %}" * 30: "does not parse: too many statically nested blocks",
    "{{ 1 }}" * 12000: "does not parse, line 1: it is too long",
    "{{ df.city * 1000000000 }}": "may not compute with tables of text or objects",
    "{{ df + df }}": "may not compute with tables of text or objects",
    "{{ cups + df.cups.head(2) }}": "may not combine tables with different rows or columns",
    "{{ column * line }}": "may not combine tables with different rows or columns",
    "{{ [column, line] | max }}": "a ndarray that has an axis of length 1",
    "{{ column in [line] }}": "may not look in a list for an array that has an axis of length 1",
    "{{ [line] == column }}": "may not look in a list for an array",
    "{{ [line] | select('in', [column]) | list }}": "a ndarray that has an axis of length 1",
    "{{ [line].index(column) }}": "may not look in a list for an array",
    "{{ '%(a(b))1000000000d' % {'a(b)': 1} }}": "a width above 999",
    "{{ column is eq(line) }}": "may not combine tables with different rows or columns",
    "{{ hostile_frame.head(1).to_csv() }}": "hostile_frame, a HostileFrame",
    "{{ column == line }}": "may not combine tables with different rows or columns",
    "{{ df.iloc[[0] * 1000000] }}": "makes something of more than",
    "{{ array[[0] * 1000000] }}": "makes something of more than",
}

STATEMENTS = {
    "{% include '/etc/passwd' %}": "does not parse, line 1: include is not allowed",
    "{% import 'x' as y %}": "import is not allowed",
    "{% from 'x' import y %}": "from is not allowed",
    "{% extends 'x' %}": "extends is not allowed",
    "{% block a %}{% endblock %}": "block is not allowed",
    "{% autoescape true %}{{ hostile }}{% endautoescape %}": "autoescape is not allowed",
    "{{ 'x' | urlize }}": "No filter named 'urlize'",
    "{{ {} | xmlattr }}": "No filter named 'xmlattr'",
    "{{ sizes | random }}": "No filter named 'random'",
    "{{ lipsum() }}": "uses {{ lipsum }}, which is not defined",
    "{{ 'x' | … ~ … }}": "does not parse, line 1",
}


def refusal(text, values):
    """Return the sentence by which a template is refused; fail if it is not, or if it is more than a sentence."""
    with pytest.raises((LLMError, UndefinedNameError)) as caught:
        SandboxedTemplate(text).render(values)
    error = caught.value
    sentence = error.sentence("The template", "assign it first.") if hasattr(error, "sentence") else str(error)
    assert getattr(error, "category", "bad_request") == "bad_request"
    assert "\n" not in sentence
    assert len(sentence) < 500
    return sentence


@pytest.fixture(scope="module")
def notebook():
    return variables()


TABLE = {**NAMES, **HOSTILE, **ATTRIBUTES, **ARGUMENTS, **TOO_MUCH, **STATEMENTS}


def test_the_table_is_as_long_as_it_should_be():
    assert len(TABLE) >= 152


@pytest.mark.parametrize(("text", "reason"), TABLE.items(), ids=[text[-60:] for text in TABLE])
def test_what_a_template_may_not_do_is_refused_by_one_sentence(text, reason, notebook):
    effects.clear()
    assert reason in refusal(text, notebook)
    assert effects == [], "code of the user's ran"
