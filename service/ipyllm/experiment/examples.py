"""Few-shot examples: questions with their answers, sent as messages before each prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from ipyllm.errors import bad_request
from ipyllm.experiment.prompt_source import ID, read_source
from ipyllm.experiment.prompt_template import reference
from ipyllm.experiment.row_content import RowContent
from ipyllm.experiment.row_prompts import image_columns, row_prompts
from ipyllm.messages import SYSTEM
from ipyllm.services.given_messages import are_messages, given_message
from ipyllm.text.suggest import suggest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ipyllm.comparison.arms import Arm
    from ipyllm.messages import Message

__all__ = ["Examples"]

_PAIR: Final = 2


@dataclass(frozen=True, slots=True)
class Examples:
    """Examples as they were given: rows of a table with their answers, or the messages themselves.

    Parameters
    ----------
    given : DataFrame, list of pairs, list of Message, or None
        Rows like those of the experiment; ``(question, answer)``, as they are sent; or messages.
    answer : str, optional
        The column with the answers of rows, or a template of it.

    Raises
    ------
    LLMError
        ``bad_request``: they are no examples, or it is not known what their answers are.
    """

    rows: tuple[Mapping[str, Any], ...] = ()
    answers: tuple[str, ...] = ()
    shared: tuple[Message, ...] = ()

    @classmethod
    def of(cls, given: Any, answer: str | None = None) -> Examples:
        """Read examples."""
        if given is None:
            if answer is not None:
                raise bad_request("example_answer names the answers of examples: give examples=…, too.")
            return cls()
        if isinstance(given, int):
            raise bad_request(f"examples must be rows, such as df.sample({given}, random_state=0), not {given}.")
        items = list(given) if isinstance(given, list | tuple) else None
        if items is not None and not items:
            return cls()
        if items is not None and all(map(_is_pair, items)):
            _refuse_answer(answer)
            pairs = [_turn({"role": "user", "content": question}, reply) for question, reply in items]
            return cls(shared=tuple(message for pair in pairs for message in pair))
        if are_messages(given):
            _refuse_answer(answer)
            messages = tuple(given_message(item) for item in given)
            if any(message["role"] in SYSTEM for message in messages):
                raise bad_request("The messages of examples have a system message: give it as system=….")
            if messages[-1]["role"] != "assistant":
                raise bad_request("The messages of examples must end with an answer, of the role assistant.")
            return cls(shared=messages)
        rows = tuple(read_source(given).rows)
        return cls(rows, _answers(rows, answer))

    def before(self, arms: Iterable[Arm], variants: Mapping[str, str | None], images: Any = None) -> tuple[Arm, ...]:
        """Return arms that send the examples before each prompt, made by their own template."""
        messages = {name: self.messages(template, images) for name, template in variants.items()}
        return tuple(arm.after(messages[arm.variant]) for arm in arms)

    def messages(self, template: str | None, images: Any = None) -> tuple[Message, ...]:
        """Return them as messages; the questions of rows are made as those of the experiment are."""
        if not self.rows:
            return self.shared
        columns = _columns(self.rows)
        prompts = row_prompts(self.rows, columns, template, image_columns(images, columns))
        found: list[Message] = []
        for prompt, reply in zip(prompts, self.answers, strict=True):
            *before, question = (
                prompt.messages() if isinstance(prompt, RowContent) else ({"role": "user", "content": prompt},)
            )
            found += [*before, *_turn(question, reply)]
        return tuple(found)


def _refuse_answer(answer: str | None) -> None:
    if answer is not None:
        raise bad_request("These examples have their answers: leave example_answer out.")


def _answers(rows: Sequence[Mapping[str, Any]], answer: str | None) -> tuple[str, ...]:
    columns = _columns(rows)
    if answer is None:
        data = [name for name in columns if name != ID]
        raise bad_request(
            f"What are the answers of the examples? They have the columns {', '.join(data)}: name one, as in "
            f"example_answer={data[-1] if data else 'answer'!r}, or give a template of it."
        )
    if not isinstance(answer, str):
        raise bad_request(f"example_answer must be the name of a column or a template, not {type(answer).__name__}.")
    if "{{" not in answer and answer not in columns:
        raise bad_request(f"The examples have no column {answer!r} with their answers. {suggest(answer, columns)}")
    template = answer if "{{" in answer else reference(answer)
    return tuple(reply for reply in row_prompts(rows, columns, template) if isinstance(reply, str))


def _columns(rows: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for row in rows for name in row))


def _is_pair(item: Any) -> bool:
    return isinstance(item, list | tuple) and len(item) == _PAIR and all(isinstance(each, str) for each in item)


def _turn(question: Message, reply: str) -> list[Message]:
    return [question, {"role": "assistant", "content": reply}]
