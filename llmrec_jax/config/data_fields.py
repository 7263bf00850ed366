"""The fields of the data section; see `fields`."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which domains a run reads, how they are split, and how a batch is drawn from them."""

    root: str = "."
    """Folder that holds the domain folders."""
    sources: tuple[str, ...] = ("demo:films",)
    """Domains to learn from: names under data.root, paths, or demo:NAME. Empty: learn from the target alone."""
    target: str = "demo:books"
    """Domain to recommend in: a name under data.root, a path, or demo:NAME."""
    split: Literal["leave_one_out", "temporal", "random"] = "leave_one_out"
    """leave_one_out: each user's last event is the test event, the one before it the validation event.
    temporal: two points in time, after 80 % and 90 % of the target's events, are the same for all domains.
    A user's first event between them is the validation event, the first one after both the test event.
    random: leave-one-out after shuffling each user's events."""
    split_seed: int = 0
    """Seed of random hold-outs (data.split=random, domains without order) and of the users data.target_fraction keeps.
    Runs with the same split_seed have the same test events, whatever their seed."""
    train_on: Literal["train", "train+valid"] = "train"
    """The events for training and for the counts of co-purchase and popularity.
    train: the training events.
    train+valid: the validation events too, for the refit of a finished run (llmrec refit)."""
    target_fraction: float = 1.0
    """Share of the target's training users that are trained on: 1 all of them, 0 none (zero-shot).
    Not data.target_share, which is the target's share of each batch."""
    regime: Literal["auto", "zero-shot", "transductive", "few-shot", "full"] = "auto"
    """What a run may use of the target, besides its texts and the history of the user it recommends to.
    auto: follows from data.target_fraction.
    zero-shot: nothing.
    transductive: also the histories of the others at inference, for counts only; with data.target_fraction=0.
    few-shot: the events of a share of the users.
    full: those of all users."""
    target_share: float = 0.5
    """Share of each batch's rows drawn from the target; data.source_temperature splits the rest over the sources.
    Not data.target_fraction, which is the share of the target's users that are trained on."""
    source_temperature: float = 1.0
    """T: a source gets rows of a batch in proportion to its number of users to the power 1 / T.
    1: in proportion to the users; a larger T gives small sources more rows, up to as many as the others."""
    min_rating: float | None = None
    """Interactions with a lower rating are left out; those without a rating are kept. None: ratings are not used."""
    text_fields: tuple[Literal["title", "brand", "category", "description"], ...] = (
        "title",
        "brand",
        "category",
        "description",
    )
    """Fields that make up an item's text, in this order, between full stops; absent ones are left out."""
    description_chars: int = 200
    """Length to which the description is truncated in an item's text, in characters."""
    graph_text: bool = False
    """Whether an item's text names its facts of the knowledge graph (kg.tsv), before the description.
    As in "director: Ann. genre: drama, comedy".
    Facts that few other items share come first; those already in the title, brand or category are left out.
    Facts held out for link prediction are left out, too."""
    max_history: int = 50
    """The user tower reads at most this many events of a history, the most recent ones."""
    max_tokens: int = 64
    """Texts are truncated to this many tokens."""
    field_dropout: float = 0.0
    """Probability that a training step reads only an item's title; evaluation and inference read the whole text.
    Improves the vectors of items that have only a title; may cost accuracy on full texts."""
    augment: Literal["none", "crop", "mask", "reorder"] = "none"
    """Random augmentation of the histories in a training step, against overfitting on little data.
    crop: keep a contiguous part of it, leaving out the share data.augment_rate.
    mask: leave out the share data.augment_rate of its events, wherever they are.
    reorder: shuffle a contiguous part of it, the share data.augment_rate; so order matters less."""
    augment_rate: float = 0.2
    """How much data.augment changes, between 0 and 1."""
    vocab_size: int = 8192
    """Vocabulary size of the tokenizer trained on the texts; ignored with encoder.pretrained."""
    unlabelled_items: int = 0
    """Target items added to each batch for the adaptation loss on items; only their texts are read."""
    on_bad_record: Literal["fail", "skip"] = "fail"
    """fail: stop and list the bad records.
    skip: leave them out and count them."""
    cache_dir: str = ".cache/llmrec_jax"
    """Folder for prepared domains, token tables and text vectors; safe to delete."""
