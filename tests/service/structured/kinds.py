"""One type for each feature of a schema, with a value and its JSON."""

import enum
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NotRequired, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, RootModel
from pydantic.dataclasses import dataclass as pydantic_dataclass
from typing_extensions import TypedDict


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Priority(enum.IntEnum):
    LOW = 1
    HIGH = 2


class City(BaseModel):
    """A place where people live."""

    name: str = Field(description="As its people call it", max_length=20)
    people: int = Field(default=0, ge=0)
    nickname: str | None = Field(default=None, max_length=20)


class Node(BaseModel):
    value: int
    children: list["Node"] = Field(default_factory=list, max_length=2)


class Expression(BaseModel):
    left: "Expression | Annotated[int, Field(ge=0, le=9)]"
    operator: Literal["+", "-"]
    right: "Term"


class Term(BaseModel):
    factor: int
    of: Expression | None = None


class Aliased(BaseModel):
    given_name: str = Field(alias="givenName", max_length=20)
    family_name: str = Field(validation_alias="family-name", max_length=20)


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")
    born: date
    seen: datetime
    key: UUID
    colour: Colour


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: list[Annotated[str, Field(max_length=10)]] = Field(max_length=2)


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    colours: list[Colour] = Field(max_length=3)
    favourite: Colour = Colour.RED
    priority: Priority


class Empty(BaseModel):
    pass


class Odd(BaseModel):
    anything: Any
    price: Decimal
    wait: timedelta
    table: dict[str, int]
    pair: tuple[int, str]
    some: set[int] = Field(max_length=3)
    code: str = Field(pattern=r"^[A-Z]{3}-\d+$")


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str


T = TypeVar("T")


class Box(BaseModel, Generic[T]):
    content: T


class Numbers(RootModel[list[int]]):
    pass


class Movie(TypedDict):
    title: Annotated[str, Field(max_length=20)]
    year: NotRequired[int]


class Loose(TypedDict, total=False):
    a: int
    b: int


@dataclass
class Point:
    x: float
    y: float = 0.0
    tags: list[Annotated[str, Field(max_length=10)]] = field(default_factory=list)
    norm: float = field(init=False, default=0.0)


@pydantic_dataclass
class Segment:
    start: Point
    end: Point


class Pair(NamedTuple):
    left: int
    right: Annotated[str, Field(max_length=10)]


_NOON = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)  # noqa: UP017 - as Pydantic reads it
_KEY = UUID("12345678-1234-5678-1234-567812345678")

KINDS: list[tuple[Any, Any, Any]] = [
    (City, {"name": "Bern", "people": 3, "nickname": None}, City(name="Bern", people=3)),
    (
        Node,
        {"value": 1, "children": [{"value": 2, "children": []}]},
        Node(value=1, children=[Node(value=2)]),
    ),
    (
        Expression,
        {"left": 1, "operator": "+", "right": {"factor": 2, "of": None}},
        Expression(left=1, operator="+", right=Term(factor=2)),
    ),
    (
        Aliased,
        {"givenName": "Ada", "family-name": "Lovelace"},
        Aliased.model_validate({"givenName": "Ada", "family-name": "Lovelace"}),
    ),
    (
        Strict,
        {"born": "2026-11-23", "seen": "2026-11-23T12:00:00Z", "key": str(_KEY), "colour": "red"},
        Strict(born=date(2026, 11, 23), seen=_NOON, key=_KEY, colour=Colour.RED),
    ),
    (
        Owner,
        {"pet": {"kind": "cat", "lives": 9}, "colours": ["red"], "favourite": "green", "priority": 2},
        Owner(pet=Cat(kind="cat", lives=9), colours=[Colour.RED], favourite=Colour.GREEN, priority=Priority.HIGH),
    ),
    (Empty, {}, Empty()),
    (
        Odd,
        {
            "anything": [1, {"a": None}],
            "price": 1.5,
            "wait": "PT1H",
            "table": {"a": 1},
            "pair": [1, "a"],
            "some": [1, 2],
            "code": "ABC-1",
        },
        Odd(
            anything=[1, {"a": None}],
            price=Decimal("1.5"),
            wait=timedelta(hours=1),
            table={"a": 1},
            pair=(1, "a"),
            some={1, 2},
            code="ABC-1",
        ),
    ),
    (Open, {"name": "a", "more": 1}, Open.model_validate({"name": "a", "more": 1})),
    (Box[int], {"content": 1}, Box[int](content=1)),
    (Numbers, {"value": [1, 2]}, Numbers([1, 2])),
    (Movie, {"title": "Alien", "year": 1979}, {"title": "Alien", "year": 1979}),
    (Loose, {"a": 1, "b": 2}, {"a": 1, "b": 2}),
    (Point, {"x": 1.5, "y": 2.0, "tags": [], "norm": 0.0}, Point(1.5, 2.0)),
    (
        Segment,
        {
            "start": {"x": 0, "y": 0, "tags": [], "norm": 0},
            "end": {"x": 1, "y": 1, "tags": ["e"], "norm": 0},
        },
        Segment(Point(0, 0), Point(1, 1, ["e"])),
    ),
    (Pair, {"value": [1, "a"]}, Pair(1, "a")),
    (
        list[City],
        {"value": [{"name": "Bern", "people": 1, "nickname": "B"}]},
        [City(name="Bern", people=1, nickname="B")],
    ),
    (Cat | Dog, {"value": {"kind": "dog", "tricks": []}}, Dog(kind="dog", tricks=[])),
    (Literal["yes", "no", 3], {"value": 3}, 3),
    (int | None, {"value": None}, None),
    (bool, {"value": True}, True),
    (Colour, {"value": "green"}, Colour.GREEN),
    (Annotated[int, Field(ge=1, le=5)], {"value": 5}, 5),
    (dict[str, list[int]], {"a": [1]}, {"a": [1]}),
    (date, {"value": "2026-11-23"}, date(2026, 11, 23)),
]
"""A type, JSON that fits it with every property filled in, and what is read from it."""

IDS = [getattr(kind, "__name__", None) or str(kind) for kind, _, _ in KINDS]
