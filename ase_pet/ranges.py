"""Settings with ranges: types with bounds, and dataclasses that refuse every other value.

Model settings in `calculator.toml`, in recipes and in checkpoints of other programs are the same
dataclass, so that a value that has no meaning is refused in one place, whoever wrote it. Pydantic
validates; the errors are sentences.
"""

from __future__ import annotations

import dataclasses
import functools
import numbers
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal, TypeVar

import annotated_types
import pydantic.dataclasses
from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.fields import FieldInfo

from .choices import closest

T = TypeVar("T")

# Strict: a text such as "10" is no number, and True is no whole number.
CONFIG = ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")
MOST_TEXT = 200  # characters of a name
MOST_LAYERS = 64
HEAVIEST = 118  # atomic number
LARGEST_ENERGY = 1e9  # eV, of an atom
LARGEST_SCALE = 1e9  # of the values of a head
LARGEST_RADIUS = 10.0  # A, of an atom
MOST_TEXTS = 4  # errors in a message
SHOWN = 80  # characters of a bad value in a message
# parts of the place of an error that pydantic adds, such as a member of a union
INTERNAL = re.compile(r"\[key\]|constrained-|function-|literal\[|dict\[")
# words of pydantic -> of this package
WORDS = {
    "Input should be": "expected",
    "a valid dictionary": "a table",
    "a valid string": "a string",
    "a valid number": "a number",
    "a valid integer": "a whole number",
}


def is_printable(text: str) -> bool:
    """Whether `text` is a short name without characters that a terminal would interpret."""
    return 0 < len(text) <= MOST_TEXT and text.isprintable()


def _head(name: str) -> str:
    # heads are names of submodules, which must not contain a dot
    if not is_printable(name) or "." in name:
        raise ValueError(
            f"head {name[:SHOWN]!r}: expected a short printable name without a dot, such as"
            " 'energy' or 'energy/NAME'"
        )
    return name


def _name(text: str) -> str:
    if not is_printable(text):
        raise ValueError(
            f"is {text[:SHOWN]!r}: expected a name of 1 to {MOST_TEXT} printable letters"
        )
    return text


def _as_tuple(values: Any) -> Any:
    """Tuple of atomic numbers: TOML has lists, and NumPy integers of its own."""
    if not isinstance(values, Iterable) or isinstance(values, str | bytes | Mapping):
        return values
    return tuple(
        int(z) if isinstance(z, numbers.Integral) and not isinstance(z, bool) else z for z in values
    )


def _as_tuples(values: Any) -> Any:
    """Nested tuples of the nested lists of TOML."""
    if isinstance(values, list | tuple):
        return tuple(_as_tuples(value) for value in values)
    return values


def _different(species: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(species)) < len(species):
        raise ValueError(f"`species` is {list(species)}: expected different atomic numbers")
    return species


AtomicNumber = Annotated[int, Field(ge=0, le=HEAVIEST)]
Species = Annotated[
    tuple[AtomicNumber, ...],
    Field(min_length=1),
    BeforeValidator(_as_tuple),
    AfterValidator(_different),
]
Listed = BeforeValidator(_as_tuples)
Name = Annotated[str, AfterValidator(_name)]
HeadName = Annotated[str, AfterValidator(_head)]
Cutoff = Annotated[float, Field(ge=0.1, le=100)]  # A
SwitchWidth = Annotated[float, Field(ge=0.001, le=100)]  # A, over which a function is switched off
AdaptiveWidth = Annotated[float, Field(ge=0.01, le=100)]  # A
LayerWidth = Annotated[int, Field(ge=1, le=1 << 16)]  # numbers that a layer has for each token
Layers = Annotated[int, Field(ge=1, le=MOST_LAYERS)]
Heads = Annotated[
    dict[HeadName, Annotated[int, Field(ge=1, le=1000)]], Field(min_length=1, max_length=100)
]
Members = dict[HeadName, Annotated[int, Field(ge=0, le=100_000)]]  # of the ensemble of a head
NeighbourCount = Annotated[float | None, Field(ge=1e-3, le=1e6)]
Temperature = Annotated[float, Field(ge=1e-6, le=1e6)]  # of attention, without unit
LargestCharge = Annotated[int, Field(ge=0, le=1000)]  # e
LargestSpin = Annotated[int, Field(ge=1, le=1000)]  # 2S+1
SmallCount = Annotated[int, Field(ge=0, le=1000)]
BlockLayers = Annotated[int, Field(ge=0, le=MOST_LAYERS)]
Degree = Annotated[int, Field(ge=1, le=7)]  # of polynomials
Power = Annotated[int, Field(ge=1, le=100)]
Length = Annotated[float, Field(ge=0, le=100)]  # A
Factor = Annotated[float, Field(ge=-1e6, le=1e6)]
OptionalFactor = Annotated[float | None, Field(ge=-1e6, le=1e6)]
Energy = Annotated[float, Field(ge=-LARGEST_ENERGY, le=LARGEST_ENERGY)]  # eV
Scale = Annotated[float, Field(gt=0, le=LARGEST_SCALE)]
Radius = Annotated[float, Field(gt=0, lt=LARGEST_RADIUS)]  # A


@typing.dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field,))
def checked(kind: type[T]) -> type[T]:
    """The class as a frozen dataclass that raises ValueError for values outside its types.

    Parameters
    ----------
    kind:
        Class with annotated fields.
    """
    made: Any = pydantic.dataclasses.dataclass(kind, frozen=True, config=CONFIG)
    initialise = made.__init__

    @functools.wraps(initialise)
    def init(self: T, *arguments: Any, **values: Any) -> None:
        try:
            initialise(self, *arguments, **values)
        except ValidationError as error:
            raise ValueError(sentence(error, fields(made))) from None

    made.__init__ = init
    return typing.cast(type[T], made)


def fields(kind: type) -> dict[str, FieldInfo]:
    """{name: pydantic field} of a dataclass of pydantic.

    Parameters
    ----------
    kind:
        Class that `checked` has made.
    """
    known: dict[str, FieldInfo] = kind.__pydantic_fields__  # type: ignore[attr-defined]
    return known


def sentence(error: ValidationError, schema: Mapping[str, FieldInfo]) -> str:
    """One line on the bad values of a table, such as "`cutoff` is -1: expected a number, ...".

    Parameters
    ----------
    error:
        What pydantic found.
    schema:
        Fields of the table.
    """
    texts: dict[str, str] = {}  # one of each field: a union has an error for each of its members
    for problem in error.errors(include_url=False):
        location = [str(part) for part in problem["loc"]]
        name = location[0] if location else ""
        if name not in texts:
            texts[name] = _problem(problem, _place(location), name, schema)
    first = list(texts.values())[:MOST_TEXTS]
    return "; ".join(first)


def _place(location: list[str]) -> str:
    """Text such as `heads.energy` for the parts of a location, without characters of control."""
    parts = [part[:SHOWN] for part in location if not INTERNAL.match(part)]
    return repr(".".join(parts))[1:-1]


def _problem(problem: Any, place: str, name: str, schema: Mapping[str, FieldInfo]) -> str:
    """Text of one error of pydantic at a place such as `heads.energy`, in a field."""
    if problem["type"] == "value_error":
        text = str(problem["ctx"]["error"])
        # most name the setting themselves
        return f"`{place}` {text}" if text.startswith("is ") else text
    if problem["type"] == "missing":
        return f"`{place}` is missing"
    if name not in schema:
        return f"`{place}` is no setting{closest(name, schema)}: valid ones are {', '.join(schema)}"
    value = repr(problem["input"])[:SHOWN]
    if len(problem["loc"]) > 1:  # inside of a list or table
        words = problem["msg"]
        for theirs, ours in WORDS.items():
            words = words.replace(theirs, ours)
        return f"`{place}` is {value}: {words}"
    return f"`{place}` is {value}: {expected(schema[name])}"


def expected(field: FieldInfo) -> str:
    """What a setting accepts, in words, such as "expected a whole number above 0".

    Parameters
    ----------
    field:
        Field of the schema.
    """
    annotation = field.annotation
    other = ""
    # `X | None`, of which TOML can say X only; typing makes another class of some unions
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        nothing = (type(None), Literal[None])
        members = [each for each in typing.get_args(annotation) if each not in nothing]
        annotation = members[0]
        if list[str] in members[1:]:
            other = " or a list of strings"
    bounds = list(field.metadata)
    if typing.get_origin(annotation) is Annotated:  # with bounds of its own
        annotation, *inner = typing.get_args(annotation)
        for each in inner:
            bounds += each.metadata if isinstance(each, FieldInfo) else [each]
    if typing.get_origin(annotation) is Literal:
        return f"valid choices are {', '.join(map(str, typing.get_args(annotation)))}"
    kind = typing.get_origin(annotation) or annotation
    words = {
        int: "a whole number",
        float: "a number",
        str: "a string",
        bool: "true or false",
        dict: "a table",
    }
    text = words.get(typing.cast(type, kind))
    if text is None and dataclasses.is_dataclass(kind):
        text = "a table"
    if text is None:
        members = list(typing.get_args(annotation))
        text = "a list of whole numbers" if AtomicNumber in members else "a list of strings"
    for bound in bounds:
        match bound:
            case annotated_types.MinLen():
                text += ", not empty"
            case annotated_types.MaxLen(length):
                text += f", at most {length} characters"
            case annotated_types.Gt(gt):
                text += f" above {written(gt)}"
            case annotated_types.Ge(ge):
                text += f", {written(ge)} or more"
            case annotated_types.Lt(lt):
                text += f", below {written(lt)}"
            case annotated_types.Le(le):
                text += f", at most {written(le)}"
    return f"expected {text}{other}"


def written(number: Any) -> str:
    """A bound as people write it: 1e6 rather than 1000000.0 or 1e+06.

    Parameters
    ----------
    number:
        Bound of a range.
    """
    text = f"{number:g}"
    if float(text) != number:  # more digits than six
        return str(number)
    return text.replace("e+0", "e").replace("e-0", "e-")
