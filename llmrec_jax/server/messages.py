"""Bodies and query parameters of requests, and bodies of responses. `openapi` makes /openapi.json from these structs.

Maxima are not here: they are those of `limits.Limits`.
"""

from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

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
    explain: Annotated[bool, Meta(description="Return what each part adds to each score.")] = False
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
    facts: Annotated[list[tuple[str, str]], Meta(description="Relations and what they lead to.")] = []


class AddItems(msgspec.Struct, forbid_unknown_fields=True):
    """Items to add."""

    items: list[dict[str, Any]]  # of the type `NewItem`; dicts, to keep its other fields
    bundle: str | None = None

    def __post_init__(self) -> None:
        """Check the fields that have a type. Raises ValueError, so that decoding fails."""
        for n, item in enumerate(self.items):
            try:
                msgspec.convert(item, NewItem)
            except msgspec.ValidationError as error:
                raise ValueError(f"item {n}: {error}") from error


class RemoveItems(msgspec.Struct, forbid_unknown_fields=True):
    """Items to remove."""

    item_ids: list[str]
    bundle: str | None = None


class Embed(msgspec.Struct):
    """A request for embeddings, as OpenAI's; unknown fields are ignored."""

    input: str | list[str]
    model: Annotated[str | None, Meta(description="Name of a bundle; null: the first one.")] = None
    encoding_format: Literal["float"] = "float"


class Found(msgspec.Struct):
    """One item of a response."""

    item_id: str
    title: str
    score: float
    category: str | None
    brand: str | None
    is_new: bool
    attributes: Annotated[dict[str, Any], Meta(description="Other fields of the item, such as its price.")]
    parts: dict[str, float] | UnsetType = UNSET


class Shelf(msgspec.Struct):
    """Items, best first."""

    items: list[Found]
    unknown: Annotated[list[str], Meta(description="Ids of the request that are not in the catalogue.")]
    fallback: Annotated[bool, Meta(description="Nothing in the history is known: the most popular items.")]
    milliseconds: float


class Share(msgspec.Struct):
    """What an item of the history adds."""

    item_id: str
    title: str
    share: float


class Word(msgspec.Struct):
    """What a word of the item's text adds."""

    word: str
    share: float


class Explained(msgspec.Struct):
    """Why an item has its score."""

    parts: dict[str, float]
    history: list[Share]
    words: list[Word]


class Listed(msgspec.Struct):
    """One item of the catalogue."""

    item_id: str
    title: str
    category: str | None
    brand: str | None
    is_new: bool
    attributes: dict[str, Any]


class Catalogue(msgspec.Struct):
    """A page of the catalogue; `total` counts all items that match."""

    items: list[Listed]
    total: int
    offset: int
    limit: int


class Changed(msgspec.Struct):
    """The catalogue after a change."""

    changed: int
    items: int


class CatalogueMap(msgspec.Struct):
    """The catalogue in two dimensions."""

    item_ids: list[str]
    titles: list[str]
    xy: list[tuple[float, float]]
    category: list[str | None]


class Embedding(msgspec.Struct):
    """The embedding of one text."""

    object: Literal["embedding"]
    index: int
    embedding: list[float]


class Usage(msgspec.Struct):
    """Counts of tokens; not measured, always 0."""

    prompt_tokens: int = 0
    total_tokens: int = 0


class Embeddings(msgspec.Struct):
    """A response with embeddings, as OpenAI's."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage


class BundleInfo(msgspec.Struct):
    """Facts of a bundle."""

    target: str
    shops: list[str]
    items: int
    regime: str | None
    verdict: str | None
    parts: dict[str, float]


class Info(msgspec.Struct):
    """What is served."""

    bundles: dict[str, BundleInfo]
    default: str
    version: str


class Health(msgspec.Struct):
    """State of the server."""

    status: Literal["ok", "starting", "stopping"]


class Error(msgspec.Struct):
    """What is wrong and in which field."""

    message: str
    field: str | None


class Failure(msgspec.Struct):
    """The body of every response that is not a success."""

    error: Error
