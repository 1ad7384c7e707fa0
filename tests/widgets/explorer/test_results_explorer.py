"""The explorer on a recording comm: what it sends, and what the commands of the page do."""

from __future__ import annotations

import json
import zlib
from array import array

import comm
import pytest

from ipyllm import LLMError, votes
from ipyllm.scorers import Scorer
from ipyllm_widgets.explorer import shown_rows
from tests.answered_experiment import MODELS, answered, reviews
from tests.widgets.page import PageComm


class BufferComm(PageComm):
    """Keeps the buffers of the messages, too."""

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        super().publish_msg(msg_type, data, metadata, buffers, **keys)
        self.sent[-1]["buffers"] = list(buffers or [])


@pytest.fixture
def explore(monkeypatch):
    """Open explorers, closed at the end."""
    monkeypatch.setattr(comm, "create_comm", BufferComm)
    opened = []

    def make(results, **options):
        opened.append(results.explore(**options))
        return opened[-1]

    yield make
    for explorer in opened:
        explorer.close()


def table_of(explorer):
    return json.loads(zlib.decompress(explorer.table))


def sent(explorer, kind):
    return [message for message in explorer.comm.custom if message["kind"] == kind]


def updates(explorer):
    return [message for message in explorer.comm.sent if message.get("method") == "update"]


def select(explorer, *rows):
    return explorer.comm.click("select", buffers=[array("I", rows).tobytes()])["error"]


def search(explorer, text):
    assert explorer.comm.click("search", text=text)["error"] is None
    found = next(each for each in reversed(explorer.comm.sent) if each.get("content", {}).get("kind") == "found")
    return array("I", found["buffers"][0]).tolist()


def test_the_page_gets_a_table_of_all_rows(explore):
    explorer = explore(reviews(5, name="reviews"))
    table = table_of(explorer)
    opened = explorer.comm.sent[0]
    assert opened["buffers"] == [explorer.table]
    assert table["arms"] == list(MODELS[:2])
    assert table["name"] == "reviews"
    assert table["comparedBy"] == "scores"
    assert table["scorers"] == [{"name": "right", "direction": True}, {"name": "judge", "direction": True}]
    assert table["repeats"] is None
    assert table["differs"] == [0, 1, 0, 1, 1]
    assert table["cells"][1]["flags"] == [0, 8 | 4, 2, 1, 4]
    assert table["cells"][1]["scores"] == [[1, 0, 1, None, 1], [5, 3, 5, None, None]]
    assert table["cells"][1]["texts"][3] == "The server took longer than 60 s. Try again, or raise timeout=."
    assert repr(explorer) == "ResultsExplorer('reviews': 5 rows × 2 arms)"


def test_what_all_prompts_begin_with_is_left_out_and_labels_are_shown(explore):
    table = table_of(explore(reviews(3)))
    assert (
        table["prompts"][0]
        == "… A joy from start to end, with a cast that could read the phone book and hold the room. (0)"
    )
    assert [(column["name"], column["values"]) for column in table["columns"]] == [
        ("label", ["positive", "negative", "positive"]),
        ("stars", [1, 2, 3]),
    ]


def test_values_of_any_kind_are_shown_as_text_or_numbers(explore):
    rows = [
        {"prompt": "a", "value": float("nan"), "other": b"\x00" * 3_000_000},
        {"prompt": "b", "value": float("inf"), "other": [1, 2]},
        {"prompt": "c", "value": 2**60, "other": "\ud800 and\x1b[31m red"},
    ]
    table = table_of(explore(answered(rows, lambda *_: {"response": "\ud800"})))
    assert table["columns"] == [
        {"name": "value", "values": [None, "inf", str(2**60)]},
        {"name": "other", "values": ["3,000,000 bytes", "[1, 2]", "? and red"]},
    ]


def test_a_row_is_sent_in_full_on_request(explore):
    explorer = explore(reviews(5))
    assert explorer.comm.click("row", row=3)["error"] is None
    (message,) = sent(explorer, "row")
    details = message["details"]
    assert details["prompt"].startswith("Positive or negative? Say why in one sentence. The score swells")
    assert details["columns"] == [["label", "negative"], ["stars", "4"]]
    first, second = details["cells"]
    assert first["text"].startswith("Negative. Because the words that carry")
    assert first["scores"] == [
        {"name": "right", "score": 1, "reason": ""},
        {"name": "judge", "score": 5, "reason": "It is brief and says why."},
    ]
    assert first["facts"].endswith("tokens · $0.00004")
    assert second["error"] == "The server took longer than 60 s. Try again, or raise timeout=."


@pytest.mark.parametrize("row", [-1, 5, 10**12])
def test_a_row_that_is_not_there_is_refused(explore, row):
    explorer = explore(reviews(5))
    for command, fields in (("row", {}), ("vote", {"outcome": "tie"}), ("note", {"text": "x"})):
        assert "a row that is not there" in explorer.comm.click(command, row=row, **fields)["error"]


def test_a_search_finds_all_words_in_prompts_answers_reasons_inputs_and_errors(explore):
    explorer = explore(reviews(5))
    assert search(explorer, "phone book") == [0]
    assert search(explorer, "PERHAPS joke") == [1]
    assert search(explorer, "hedges") == [1]
    assert search(explorer, "timeout=") == [3]
    assert search(explorer, "gave no verdict") == [4]
    assert search(explorer, "negative stars") == []
    assert search(explorer, " ") == [0, 1, 2, 3, 4]


def test_the_selection_is_a_table_of_calls_in_the_order_of_the_page(explore):
    results = reviews(5)
    explorer = explore(results)
    assert len(explorer.selection) == 10
    assert select(explorer, 3, 0) is None
    explorer.comm.click("vote", row=0, outcome="1")
    explorer.comm.click("note", row=3, text="Ask again.")
    chosen = explorer.selection
    assert chosen["prompt"].str.contains("swells").tolist() == [True, True, False, False]
    assert chosen["arm"].tolist() == [*MODELS[:2]] * 2
    assert chosen["vote"].tolist() == ["", "", MODELS[1], MODELS[1]]
    assert chosen["note"].tolist() == ["Ask again."] * 2 + [""] * 2
    assert list(chosen.columns) == [*results.calls.columns, "vote", "note"]
    assert select(explorer) is None
    assert explorer.selection.empty
    assert "a row that is not there" in select(explorer, 5)
    assert "a wrong selection" in explorer.comm.click("select", buffers=[b"123"])["error"]
    assert "a wrong selection" in explorer.comm.click("select")["error"]


def test_votes_and_notes_are_stored_and_told_to_every_view(explore):
    results = reviews(5, repeats=2)
    explorer = explore(results)
    assert explorer.comm.click("vote", row=2, outcome="1")["error"] is None
    assert explorer.comm.click("note", row=2, text="Good.")["error"] is None
    assert [message["rows"] for message in sent(explorer, "judged")] == [
        {"2": {"vote": "1", "note": ""}},
        {"2": {"vote": "1", "note": "Good."}, "3": {"vote": "", "note": "Good."}},
    ]
    assert votes()["outcome"].tolist() == [f"openai/{MODELS[1]}"]
    assert explorer.get_state("judgements")["judgements"] == {
        "2": {"vote": "1", "note": "Good."},
        "3": {"vote": "", "note": "Good."},
    }
    assert explore(results).comm.sent[0]["state"]["judgements"]["2"] == {"vote": "1", "note": "Good."}


def test_only_what_is_shown_is_read_and_the_selection_has_all_columns(explore, monkeypatch):
    from ipyllm.ledger import Ledger

    results = reviews(3)
    calls = results.calls  # scored
    read = []
    monkeypatch.setattr(Ledger, "read", lambda self, query, _read=Ledger.read: read.append(query) or _read(self, query))
    explorer = explore(results)
    columns = {name for query in read for name in query.columns if query.table.name == "calls"}
    assert "response" in columns
    assert not {"reasoning", "ttft_s", "params"} & columns
    assert list(explorer.selection.columns) == [*calls.columns, "vote", "note"]
    assert explorer.selection["call_id"].tolist() == calls["call_id"].tolist()


def test_a_scorer_of_an_explorer_sees_the_whole_call(explore):
    explorer = explore(reviews(2).rescore([lambda response: response.usage.output_tokens]))
    assert table_of(explorer)["cells"][0]["scores"] == [[12, 13]]


def test_a_vote_is_withdrawn_for_every_view(explore):
    results = reviews(2)
    explorer = explore(results)
    explorer.comm.click("vote", row=0, outcome="1")
    assert explorer.comm.click("vote", row=0, outcome="none")["error"] is None
    assert sent(explorer, "judged")[-1]["rows"] == {"0": {"vote": "", "note": ""}}
    assert votes().empty
    assert explore(results).comm.sent[0]["state"]["judgements"] == {}


@pytest.mark.parametrize("outcome", ["2", "99999999999", "-1", "x", "", "²"])
def test_a_vote_for_an_arm_that_is_not_there_is_refused(explore, outcome):
    explorer = explore(reviews(5))
    assert "There is no arm" in explorer.comm.click("vote", row=0, outcome=outcome)["error"]
    assert votes().empty


def test_most_rows_bounds_the_table_which_says_how_many_are_left_out(explore):
    explorer = explore(reviews(5), most_rows=2)
    table = table_of(explorer)
    assert (len(table["ids"]), table["leftOut"]) == (2, 3)
    assert len(explorer.selection) == 4
    with pytest.raises(LLMError, match="most_rows must be a whole number, 1 or more"):
        explore(reviews(5), most_rows=0)


def test_nothing_is_opened_without_an_answer(explore):
    with pytest.raises(LLMError, match="There are no answers to explore yet"):
        explore(answered(["?"], lambda *_: None, name="empty"))


def test_refresh_shows_what_was_asked_since(explore):
    prompts = ["a", "b"]
    explorer = explore(
        answered(prompts, lambda arm, prompt, _: {"response": "x"} if prompt == 0 else None, name="grows")
    )
    assert table_of(explorer)["cells"][0]["statuses"] == ["ok", ""]
    select(explorer, 0)
    answered(prompts, lambda arm, prompt, _: {"response": "y"} if prompt == 1 else None, name="grows")
    explorer.refresh()
    assert table_of(explorer)["cells"][0]["statuses"] == ["ok", "ok"]
    assert len(explorer.selection) == 4
    assert search(explorer, "y") == [1]


def test_keys_are_masked_in_whatever_is_sent(explore):
    key = "sk-proj-Zx81Vd03Qm5Lk27Tn94Yc6Wb"
    results = answered([{"prompt": f"Say {key}", "label": key}], lambda *_: {"response": f"{' ' * 650}{key} is it"})
    explorer = explore(results)
    explorer.comm.click("row", row=0)
    shown = json.dumps(table_of(explorer)) + json.dumps(explorer.comm.sent, default=str)
    assert key not in shown
    assert key[:18] not in shown


# ---- the first rows of many ----------------------------------------------------------------------------


@pytest.fixture
def two_first(monkeypatch):
    """Take the two first rows of any experiment as the first of many."""
    monkeypatch.setattr(shown_rows, "_AT_ONCE", 0)
    monkeypatch.setattr(shown_rows, "_FIRST_ROWS", 2)


def scored(results):
    assert len(results.calls)
    return results


def fails(results, exc):
    """Let the results raise ``exc`` when all are read, or, with None, read them."""

    def matrix():
        raise exc

    if exc is None:
        del results.matrix
    else:
        results.matrix = matrix


def test_the_first_rows_of_many_are_shown_before_the_others_are_read(explore, two_first, monkeypatch):
    results = scored(reviews(5, name="reviews"))
    whole = table_of(explore(results, most_rows=2)) | {"leftOut": 0}
    explorer = explore(results)
    table = table_of(explorer)
    assert table.pop("expected") == 5
    # "right" is inferred to be better where it is higher, of all its scores: whether one is regressed is not known yet.
    assert [each["direction"] for each in table["scorers"]] == [None, True]
    table["scorers"][0]["direction"] = True
    assert table == whole
    assert repr(explorer) == "ResultsExplorer('reviews': 5 rows × 2 arms)"

    assert explorer.comm.click("read")["error"] is None
    judgements, rest = updates(explorer)
    assert (judgements["state"], rest["buffers"]) == ({"judgements": {}}, [explorer.table])
    monkeypatch.undo()
    assert table_of(explorer) == table_of(explore(results))
    explorer.comm.click("read")
    assert len(updates(explorer)) == 2


def test_a_score_whose_direction_depends_on_all_scores_flags_nothing_before_they_are_read(explore, two_first):
    scorer = Scorer("n", lambda response: len(response.content), takes_row=False, inline=True)
    results = answered(["a", "b", "c", "d"], lambda arm, prompt, _: {"response": "x" * (1 - arm) + "y" * (prompt > 2)},
                       scorers=[scorer])  # fmt: skip
    explorer = explore(scored(results))
    assert table_of(explorer)["cells"][1] | {"texts": []} == {
        "texts": [], "statuses": ["ok", "ok"], "flags": [0, 0], "scores": [[0, 0]],
    }  # fmt: skip
    explorer.comm.click("read")
    assert table_of(explorer)["cells"][1]["flags"] == [0] * 4  # of 2, 1 and 0: it is not known which is better


def test_commands_and_the_selection_do_not_do_with_the_first_rows(explore, two_first):
    results = scored(reviews(5))
    assert len(explore(results).selection) == 10
    assert search(explore(results), "timeout=") == [3]
    assert select(explore(results), 4) is None
    explorer = explore(results)
    assert explorer.comm.click("row", row=4)["error"] is None
    assert sent(explorer, "row")[0]["details"]["columns"] == [["label", "positive"], ["stars", "5"]]
    assert "a row that is not there" in explore(results).comm.click("row", row=5)["error"]
    explorer = explore(results)
    assert explorer.comm.click("note", row=3, text="Ask again.")["error"] is None
    opened = explore(results)
    assert opened.comm.sent[0]["state"]["judgements"] == {}
    opened.comm.click("read")
    assert opened.get_state("judgements")["judgements"] == {"3": {"vote": "", "note": "Ask again."}}


def test_the_first_rows_leave_out_what_all_prompts_begin_with(explore, two_first):
    rows = [{"prompt": f"Answer in one word, please. {end}"} for end in ("Is it a, or b?", "Is it a, or c?", "Why?")]
    explorer = explore(answered(rows, lambda *_: {"response": "x"}))
    assert table_of(explorer)["prompts"] == ["… Is it a, or b?", "… Is it a, or c?"]


@pytest.mark.parametrize(
    ("exc", "reason"),
    [
        (LLMError("The ledger is gone.", category="bad_request"), "The ledger is gone."),
        (OSError("disk"), "OSError: disk"),
        (KeyboardInterrupt(), "the cell was interrupted."),
    ],
)
def test_a_page_is_told_why_the_other_rows_are_missing_and_they_are_read_on_request(explore, two_first, exc, reason):
    results = scored(reviews(5))
    explorer = explore(results)
    fails(results, exc)
    with pytest.raises(type(exc)) as raised:
        _ = explorer.selection
    if isinstance(exc, KeyboardInterrupt):
        (sentence,) = raised.value._render_traceback_()
        assert sentence.startswith("Interrupted: only the first rows are shown. Choose “Read them”")
    fails(results, None)
    assert explorer.comm.click("read")["error"] is None  # a page that is loaded again: what was stopped stays so
    assert [message["reason"] for message in sent(explorer, "unread")] == [reason] * 2
    assert table_of(explorer)["expected"] == 5
    assert explorer.comm.click("read", again=True)["error"] is None
    assert len(table_of(explorer)["ids"]) == 5
    assert explorer.comm.click("read")["error"] is None
    assert len(sent(explorer, "unread")) == 2


def test_the_other_rows_are_read_by_refresh_too(explore, two_first):
    results = scored(reviews(5))
    explorer = explore(results)
    fails(results, OSError("disk"))
    assert explorer.comm.click("read", again=True)["error"].endswith("OSError: disk")
    fails(results, None)
    explorer.refresh()
    assert len(table_of(explorer)["ids"]) == 5


@pytest.mark.parametrize("given", [{"status": "running"}, None])
def test_all_is_read_at_once_if_one_of_the_first_calls_has_not_ended(explore, two_first, given):
    explorer = explore(answered(["a", "b", "c"], lambda arm, prompt, _: {} if prompt or arm else given))
    assert len(table_of(explorer)["ids"]) == 3


def test_all_is_scored_at_once_if_one_of_the_first_calls_is_not(explore, two_first):
    explorer = explore(reviews(5))
    assert len(table_of(explorer)["ids"]) == 5
