"""Bodies and query parameters of requests. `openapi` makes /openapi.json from these structs and those of `responses`.

Maxima are not here: they are those of `limits.Limits`.
"""

from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

T = TypeVar("T")
Pair: TypeAlias = Annotated[list[T], Meta(min_length=2, max_length=2)]
Count = Annotated[int, Meta(ge=1)]
Offset = Annotated[int, Meta(ge=0, le=2**53)]


class Range(msgspec.Struct, forbid_unknown_fields=True):
    """Numbers from `min` to `max`, both included."""

    min: float | None = None
    max: float | None = None


Condition: TypeAlias = str | float | list[str] | Range
Where: TypeAlias = Annotated[
    dict[str, Condition], Meta(description="Conditions on fields of the items: a value, a list of values, or a range.")
]


class Recommend(msgspec.Struct, forbid_unknown_fields=True):
    """A request for recommendations."""

    history: Annotated[list[str], Meta(description="Ids of items, oldest first.")]
    disliked: Annotated[list[str], Meta(description="Ids of items whose taste is subtracted.")] = []
    k: Count = 10
    where: Where = {}
    among: Annotated[list[str] | None, Meta(description="Recommend only these ids.")] = None
    seen: Annotated[bool, Meta(description="Also recommend items of the history.")] = False
    diversity: Annotated[float, Meta(ge=0, le=1, description="0: by score alone; 1: by difference alone.")] = 0.0
    new: Annotated[int, Meta(ge=0, description="At least this many of the k are items added after the training.")] = 0
    explain: Annotated[bool, Meta(description="Return what each part adds to each score.")] = False
    probabilities: Annotated[bool, Meta(description="Return the probability that each item is next.")] = False
    shop: Annotated[str | None, Meta(description="A domain of the bundle; null: its target.")] = None
    bundle: Annotated[str | None, Meta(description="Name of a bundle; null: the first one.")] = None


class Search(msgspec.Struct, forbid_unknown_fields=True):
    """A search of the catalogue by free text."""

    query: Annotated[str, Meta(min_length=1)]
    k: Count = 10
    where: Where = {}
    bundle: str | None = None


class Explain(msgspec.Struct, forbid_unknown_fields=True):
    """A request to explain the score of one item."""

    history: Annotated[list[str], Meta(max_length=100, description="Ids of items, oldest first.")]
    item_id: str
    bundle: str | None = None


class Similar(msgspec.Struct, forbid_unknown_fields=True):
    """Query parameters of /v1/similar."""

    by: Literal["text", "purchase", "model"] = "text"
    k: Count = 10
    bundle: str | None = None


class Listing(msgspec.Struct, forbid_unknown_fields=True):
    """Query parameters of GET /v1/items."""

    query: Annotated[str, Meta(description="Only items whose title contains this text.")] = ""
    offset: Offset = 0
    limit: Count = 50
    bundle: str | None = None


class OfBundle(msgspec.Struct, forbid_unknown_fields=True):
    """Query parameters of a route that takes the name of a bundle alone."""

    bundle: str | None = None


class NewItem(msgspec.Struct):
    """An item to add: a line of items.jsonl. Other fields with a text or a number are kept for filters."""

    item_id: str
    title: str
    category: str | None = None
    brand: str | None = None
    description: str | None = None
    facts: Annotated[list[Pair[str]], Meta(description="Relations and what they lead to.")] = []


class AddItems(msgspec.Struct, forbid_unknown_fields=True):
    """Items to add."""

    items: list[dict[str, Any]]  # of the type `NewItem`; dicts, to keep its other fields
    bundle: str | None = None

    def __post_init__(self) -> None:
        """Check the fields that have a type. Raises ValueError, so that decoding fails; places are msgspec's."""
        for n, item in enumerate(self.items):
            try:
                msgspec.convert(item, NewItem)
            except msgspec.ValidationError as error:
                message, _, place = str(error).partition(" - at `$")
                raise ValueError(f"{message} - at `$.items[{n}]{place.rstrip('`')}`") from error
            for name in item.keys() - set(NewItem.__struct_fields__):
                if not isinstance(item[name], str | int | float | None) or isinstance(item[name], bool):
                    raise ValueError(f"Expected a text or a number - at `$.items[{n}].{name}`")


class RemoveItems(msgspec.Struct, forbid_unknown_fields=True):
    """Items to remove."""

    item_ids: list[str]
    bundle: str | None = None


class Embed(msgspec.Struct):
    """A request for embeddings, as OpenAI's; unknown fields are ignored."""

    input: str | list[str]
    model: Annotated[str | None, Meta(description="Name of a bundle; null: the first one.")] = None
    encoding_format: Literal["float"] = "float"
