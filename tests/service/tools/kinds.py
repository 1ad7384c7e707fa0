"""Functions with typical signatures; the hints are strings, due to ``from __future__ import annotations``."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from nowhere import Result


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


@dataclass
class Point:
    x: float
    y: float = 0.0


class Person(BaseModel):
    name: str
    born: date | None = None


def takes_a_literal(value: Literal["a", "b"]): ...
def takes_an_enum(value: Colour): ...
def takes_an_optional(value: int | None): ...
def takes_a_list(value: list[int]): ...
def takes_a_dict(value: dict[str, float]): ...
def takes_a_dataclass(value: Point): ...
def takes_a_model(value: Person): ...
def takes_models(value: list[Person]): ...
def takes_a_datetime(value: datetime): ...
def takes_a_tuple(value: tuple[int, str]): ...
def takes_a_set(value: set[str]): ...
def takes_a_bounded_number(value: Annotated[int, Field(ge=1, description="Not zero.")]): ...
def takes_anything(value): ...
def takes_reserved_names(schema: str, model_config: int, _private: bool, json: str = "x"): ...
def has_a_result_that_is_nowhere(value: int) -> Result: ...
def has_a_parameter_that_is_nowhere(value: Result): ...


def numpy_style(city: str, days: int = 1) -> str:
    """Forecast of the weather.

    It comes from a satellite.

    Parameters
    ----------
    city : str
        Its name,
        in English.
    days : int, optional
        How far ahead.

    Returns
    -------
    str
        A sentence.
    """


def google_style(city: str, days: int = 1) -> str:
    """Forecast of the weather.

    It comes from a satellite.

    Args:
        city (str): Its name,
            in English.
        days: How far ahead.

    Returns:
        A sentence.
    """


def sphinx_style(city: str, days: int = 1) -> str:
    """Forecast of the weather.

    It comes from a satellite.

    :param city: Its name,
        in English.
    :param int days: How far ahead.
    :returns: A sentence.
    """
