"""Loads the bundle of a `Recommender`, adds and removes items, saves the bundle, and uploads it to the hub."""

import dataclasses
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from llmrec_jax.inference.adding import with_new_items
from llmrec_jax.inference.arguments import as_items
from llmrec_jax.inference.bundle import NAME, Bundle, BundleItem, load
from llmrec_jax.inference.catalog import Catalog
from llmrec_jax.progress import shown


class Stored:
    """A bundle in memory, and its items as they are now. Thread-safe."""

    def __init__(self, bundle: Bundle):
        """See `load`."""
        from llmrec_jax.inference.network import Network

        self._bundle, self._network = bundle, Network(bundle)
        self._catalog = Catalog.of(bundle)
        self._changing = threading.Lock()

    @classmethod
    def load(cls, bundle: str | Path) -> Self:
        """Load a bundle, or the one in a run's work folder. Raises ValueError if it is neither."""
        return cls(load(Path(bundle)))

    @classmethod
    def from_pretrained(
        cls, repo_id_or_folder: str | Path, *, revision: str | None = None, endpoint: str | None = None
    ) -> Self:
        """Load a bundle from the Hugging Face hub, or from a folder as `load` does.

        Args:
          repo_id_or_folder: a folder, or the name of a repository, such as `org/name`. A folder of this name is
            preferred. Downloads are kept in huggingface_hub's cache.
          revision: branch, tag or commit of the repository; None: its main branch.
          endpoint: of another server; None: HF_ENDPOINT, or the public hub.

        Raises:
          ValueError: there is neither such a folder nor such a repository, or it holds no bundle.
        """
        from llmrec_jax.inference import hub

        return cls.load(hub.locate(repo_id_or_folder, revision=revision, endpoint=endpoint))

    def push_to_hub(
        self, repo_id: str, *, private: bool = True, revision: str = "main", endpoint: str | None = None
    ) -> str:
        """Upload the bundle, with the items as they are now, and a model card; returns the commit's address.

        The card has the figures of the run's report if the bundle was loaded from a run's work folder.

        Args:
          repo_id: such as `org/name`; created if it does not exist.
          private: of a repository that is created. A bundle holds the ids and titles of all items.
          revision: the branch, which must exist.
          endpoint: of another server; None: HF_ENDPOINT, or the public hub.

        Raises:
          ValueError: the loaded bundle was replaced on disk, or the hub refused.
        """
        from llmrec_jax.inference import hub
        from llmrec_jax.inference.card import model_card

        with tempfile.TemporaryDirectory(prefix="llmrec-push-") as temporary:
            catalog, folder = self._catalog, Path(temporary) / NAME
            self._save(catalog, folder)
            card = model_card(dataclasses.replace(self._bundle, items=catalog.items), repo_id)
            return hub.upload(folder, card, repo_id, private, revision, endpoint)

    def save(self, folder: str | Path) -> None:
        """Write a bundle with the items as they are now, replacing a bundle in `folder`. It loads as this recommender.

        Raises ValueError if `folder` holds something else, or if the loaded bundle was replaced on disk.
        """
        self._save(self._catalog, Path(folder))

    @property
    def target(self) -> str:
        """The name of the domain whose items are recommended."""
        return self._catalog.target

    @property
    def shops(self) -> list[str]:
        """The names of all domains of the bundle, the target last.

        >>> r.shops
        ['films', 'books']
        """
        return list(self._catalog.shops)

    @property
    def items(self) -> Sequence[BundleItem]:
        """The items of the target, added ones included: item_id, title, category, brand, attributes, is_new."""
        return self._catalog.offered

    def item(self, item_id: str) -> BundleItem:
        """An item of any domain, also a removed one. Raises ValueError if no item has this id.

        >>> r.item("film-0003").domain
        'films'
        """
        return self._catalog.items[self._catalog.numbers_of([item_id], "item_id")[0]]

    def add_items(self, items: Sequence[Mapping[str, object]]) -> None:
        """Add items that were not in the training data, by their text: dicts with `item_id`, `title` and, optionally,
        `brand`, `category`, `description`, and `facts` of the knowledge graph, a list of (relation, tail) pairs. Other
        fields that are numbers or short texts are kept as attributes. If one is invalid, none is added.

        >>> r.add_items([{"item_id": "new", "title": "A Winter in Vienna", "price": 1.5}])
        >>> r.item("new").attributes, r.recommend(["book-0000"], where={"price": {"max": 2}}).ids
        ({'price': 1.5}, ['new'])

        Raises:
          ValueError: a field is missing or has the wrong type, or an id is taken; gives the item's position.
        """
        with self._changing:
            catalog = self._catalog
            new = as_items(items, catalog.taken, catalog.target)
            with shown("adding items"):
                self._catalog = with_new_items(catalog, new, self._network, self._bundle.text)

    def remove_items(self, item_ids: Sequence[str]) -> None:
        """Stop recommending items of the target. They are still read in histories; their ids may be added again.

        >>> r.remove_items(["book-0000"])
        >>> "book-0000" in [item.item_id for item in r.items]
        False

        Raises ValueError if an id is not that of an item of the target; then none is removed.
        """
        with self._changing:
            self._catalog = self._catalog.without_items(item_ids)

    def _save(self, catalog: Catalog, folder: Path) -> None:
        from llmrec_jax.inference.saving import save  # imports JAX

        save(self._bundle, catalog, folder)
