"""Public functions have types for users: none is `Any`, and mypy --strict finds the mistakes of a user's script."""

import inspect
import typing

import pytest
from jax.typing import DTypeLike

from llmrec_jax.data.domains.domain import Domain
from llmrec_jax.data.domains.frames import Frame
from llmrec_jax.evaluate.own import evaluate
from llmrec_jax.fitting import fit
from llmrec_jax.inference.bundle import BundleItem
from llmrec_jax.inference.hub import push_to_hub
from llmrec_jax.inference.recommender import Recommender
from llmrec_jax.inference.results import Explanation, Recommendation, Recommendations
from llmrec_jax.models import from_pretrained, save_pretrained

METHODS = {
    name: getattr(method, "fget", None) or method
    for name, method in inspect.getmembers(Recommender)
    if not name.startswith("_")
}
OTHERS = [fit, Domain.from_frames, push_to_hub, evaluate, from_pretrained, save_pretrained, Recommendations.__init__]
FOREIGN = (Frame, DTypeLike)  # what they contain is described by another library
CLASSES = (BundleItem, Explanation, Recommendation)


def parts(hint):
    yield hint
    for part in typing.get_args(hint):
        yield from parts(part)


@pytest.mark.parametrize("function", [*METHODS.values(), *OTHERS, *CLASSES], ids=lambda f: f.__qualname__)
def test_no_public_type_is_any(function):
    hints = typing.get_type_hints(function, localns={"Frame": Frame})
    if not isinstance(function, type):
        parameters = set(inspect.signature(function).parameters) - {"self"}
        assert parameters <= hints.keys()
        assert "return" in hints or function is Recommendations.__init__
        hints |= typing.get_type_hints(hints["options"].__args__[0]) if "options" in hints else {}
    assert hints
    own = [hint for hint in hints.values() if hint not in FOREIGN]
    assert typing.Any not in [part for hint in own for part in parts(hint)]


SCRIPT = """
import llmrec_jax
import numpy as np

items = [{"item_id": "a", "title": "A", "price": 2.5}]
class Frame:  # as of polars
    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        return self
    def __dataframe__(self, nan_as_null: bool = False, allow_copy: bool = True) -> dict[str, str]:
        return {}

events = Frame()
r: llmrec_jax.Recommender = llmrec_jax.fit(items, events, changes={"train.steps": 3})
r = llmrec_jax.Recommender.from_pretrained("org/name", revision="v1")
found = r.recommend(["a"], k=3, where={"category": ["x", "y"], "price": {"min": 1, "max": 2.5}}, among={"a"})
names: list[str] = [item_id + title for item_id, score, title in found if score > 0]
users: dict[str, float] = {user: one[0].score for user, one in r.recommend_frame(events, k=2, seen=True).items()}
more = r.recommend_frame([{"user_id": "u", "item_id": "a"}]), r.recommend_frame({"user_id": ["u"], "item_id": ["a"]})
r.add_items(items)
vectors: np.ndarray = r.encode(["a"])
domain: llmrec_jax.Domain = llmrec_jax.Domain.from_frames(items, events)
titles: list[str] = domain.titles

found.nothing  # type: ignore[attr-defined]
r.recommend("a", k="3")  # type: ignore[arg-type]
r.recommend(["a"], where={"price": object()})  # type: ignore[dict-item]
r.recommend_frame(3)  # type: ignore[arg-type]
r.recommend_many([["a"]], colour="red")  # type: ignore[call-arg]
r.similar("a", by="colour")  # type: ignore[arg-type]
llmrec_jax.fit(items, events, steps=3)  # type: ignore[call-arg]
llmrec_jax.Recommendr  # type: ignore[attr-defined]
"""


@pytest.mark.slow
def test_mypy_finds_the_mistakes_of_a_script(tmp_path, monkeypatch):
    """An unused `type: ignore` is an error, so each line that has one is wrong in the way that it says."""
    api = pytest.importorskip("mypy.api")
    (tmp_path / "script.py").write_text(SCRIPT)
    options = ["--strict", "--follow-imports=silent", f"--cache-dir={tmp_path / 'cache'}"]
    out, err, code = api.run([*options, str(tmp_path / "script.py")])
    assert (code, err) == (0, ""), out
