"""The perplexity of held-out texts under a language model, trained in a stage of its own or as a task."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import Mesh

from llmrec_jax.evaluate.tiles import map_tiles
from llmrec_jax.losses.language_model import cross_entropy
from llmrec_jax.models.bert import Bert
from llmrec_jax.models.gpt2 import Gpt2
from llmrec_jax.models.language_model import TokenHead, predict
from llmrec_jax.models.rec_model import RecModel
from llmrec_jax.parallel import state_shardings
from llmrec_jax.train.state import Params, TrainState
from llmrec_jax.types import Catalog


class Startable(Protocol):
    """The part of a `Run` that makes its first parameters."""

    def init_state(self) -> TrainState:
        """See `Run`."""

    def start(self, state: TrainState) -> TrainState:
        """See `Run`."""


@dataclasses.dataclass(frozen=True)
class TextLoss:
    """`map_tiles` function: the sum of the loss over the predicted tokens of each text, and their number [R, 2]."""

    graphdef: Any
    parts: Callable[[Any], tuple[Bert | Gpt2, TokenHead]]  # of the model

    def __call__(self, constants: tuple[Any, Catalog], texts_R: jax.Array) -> jax.Array:
        """Of texts of the catalogue; `constants` are the parameters and the catalogue."""
        params, catalog = constants
        encoder, head = self.parts(nnx.merge(self.graphdef, params))
        hidden_RKD, target_RK, is_predicted_RK = predict(encoder, head, texts_R, catalog, jax.random.key(0))
        flat_ND = hidden_RKD.reshape(-1, hidden_RKD.shape[2])
        loss_N = cross_entropy(flat_ND, target_RK.reshape(-1), *head.output(encoder))
        loss_RK = jnp.where(is_predicted_RK, loss_N.reshape(is_predicted_RK.shape), 0)
        return jnp.stack([loss_RK.sum(axis=1), is_predicted_RK.sum(axis=1).astype(jnp.float32)], axis=1)


def mean_loss(
    loss: TextLoss, texts: np.ndarray, constants: tuple[Params, Catalog], mesh: Mesh, batch_size: int
) -> float:
    """The mean loss of a predicted token of some texts, which is the logarithm of the perplexity.

    Args:
      loss: of the language model.
      texts: of the catalogue.
      constants: parameters of the model and catalogue, global arrays on the mesh.
      mesh: of the devices.
      batch_size: texts evaluated at a time.
    """
    total, number = map_tiles(loss, mesh, (texts.astype(np.int32),), constants, batch_size).T.astype(np.float64)
    return float(total.sum() / number.sum())


def first_params(run: Startable, mesh: Mesh) -> Params:
    """The parameters before the first step, sharded like those of the state."""
    shardings = state_shardings(jax.eval_shape(run.init_state), mesh)
    return run.start(jax.jit(run.init_state, out_shardings=shardings)()).params


def perplexity_of(
    graphdef: Any, params: dict[str, Params], catalog: Catalog, domains: list[str], mesh: Mesh, batch_size: int
) -> list[dict[str, Any]]:
    """The rows of the report on the task `language_model`; none if no texts are held out.

    Args:
      graphdef: of the `RecModel`, with the head of the task.
      params: by the name of the row, global arrays.
      catalog: with tokens and `is_held_out_I`, on the mesh.
      domains: names of all domains, whose texts are held out in common.
      mesh: of the devices.
      batch_size: texts evaluated at a time.
    """
    texts = np.flatnonzero(np.asarray(catalog.is_held_out_I))
    if not len(texts):
        return []
    facts = {"domain": "+".join(domains), "split": "held_out", "texts": len(texts)}
    loss = TextLoss(graphdef, _parts)
    return [
        {"task": "language_model", "method": method, **facts}
        | {"perplexity": math.exp(mean_loss(loss, texts, (own, catalog), mesh, batch_size))}
        for method, own in params.items()
    ]


def _parts(model: RecModel) -> tuple[Bert | Gpt2, TokenHead]:
    assert model.encoder is not None
    assert model.heads is not None
    return model.encoder, model.heads["language_model"]
