"""Bodies of responses. `openapi` makes /openapi.json from these structs and those of `requests`."""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from llmrec_jax.server.requests import Pair


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
    probability: Annotated[
        float | UnsetType | None,
        Meta(description="That the item is the next event; null for a history without items of the target."),
    ] = UNSET


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
    xy: list[Pair[float]]
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
    probabilities: Annotated[bool, Meta(description="Whether recommendations can have probabilities.")]


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
