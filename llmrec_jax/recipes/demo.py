"""The model of `llmrec demo`: trained on films, recommends books; the histories of the bookshop are used for counts.

Command:   llmrec demo, or llmrec train demo without the page
Hardware:  2 CPU cores.
Time:      54 s.
Result:    test NDCG@10 / Recall@10 on the books: answer .181 / .358, model .126 / .269; the best baseline, item_knn,
           .163 / .319. One seed.

The model is that of `quickstart`, trained for fewer steps.
"""

from llmrec_jax.config import Config, changed
from llmrec_jax.recipes import quickstart


def config() -> Config:
    """The experiment."""
    return changed(
        quickstart.config(),
        {"data.regime": "transductive", "train.steps": 100, "train.eval_every": 100, "train.checkpoint_every": 100},
    )
