"""A tiny run on the built-in shops, shared by the tests of the trainer."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

from llmrec_jax.config import (
    AdaptConfig,
    Config,
    DataConfig,
    EncoderConfig,
    LossConfig,
    MeshConfig,
    ModelConfig,
    OptimConfig,
    TrainConfig,
)
from llmrec_jax.data.domains import demo
from llmrec_jax.data.texts.tokenizer import train_tokenizer
from llmrec_jax.models import save_pretrained
from llmrec_jax.models.architectures import ENCODERS, new_encoder
from llmrec_jax.parallel import make_layout
from llmrec_jax.train.experiment import Experiment
from llmrec_jax.train.language_model import LanguageModelRun
from llmrec_jax.train.metrics import TIMING
from llmrec_jax.train.state import TrainState
from llmrec_jax.train.step import train_step
from tests.conftest import DATA_CACHE

# Some texts of the shops are cut, some shorter.
SEVERAL_BUCKETS: dict[str, Any] = {"max_tokens": 56, "vocab_size": 1000}


def tiny_config(cache_dir: Path = DATA_CACHE, *, mesh: MeshConfig | None = None, **data: object) -> Config:
    """Films and books, a two-layer BERT of width 16, both kinds of rows, adaptation on both levels, no dropout."""
    return Config(
        data=dataclasses.replace(
            DataConfig(max_history=6, max_tokens=12, vocab_size=300, cache_dir=str(cache_dir)),
            **data,  # type: ignore[arg-type]
        ),
        encoder=EncoderConfig(num_layers=2, width=16, num_heads=2, dropout=0.0),
        model=ModelConfig(item_features="text+id", width=16, num_layers=2, num_heads=2, dropout=0.0),
        loss=LossConfig(ranking="in_batch"),
        adapt=AdaptConfig(method="coral", weight=0.1, level="both"),
        mesh=mesh or MeshConfig(data=1),
        optim=OptimConfig(learning_rate=3e-3, warmup_steps=4),
        train=TrainConfig(steps=8, batch_size=16, eval_every=4, checkpoint_every=4),
    )


def pretrained_config(folder: Path, kind: Any, num_layers: int) -> Config:
    """Of a run on books alone that starts from a pretrained encoder of width 32, written to `folder`."""
    tokenizer = train_tokenizer([item.title for item in demo._items("books")[0]], kind, 300)
    sizes = {"vocab_size": tokenizer.get_vocab_size(), "width": 32, "num_layers": num_layers, "num_heads": 2}
    encoder = new_encoder(ENCODERS[kind].config(max_positions=64, dropout=0.0, **sizes), nnx.Rngs(7))
    save_pretrained(shaken(encoder, 0.2), folder)  # fresh weights tell texts hardly apart
    tokenizer.save(str(folder / "tokenizer.json"))
    config = tiny_config(sources=(), max_tokens=64, vocab_size=1000)
    return dataclasses.replace(
        config,
        encoder=dataclasses.replace(config.encoder, pretrained=str(folder)),
        model=dataclasses.replace(config.model, user_tower="mean"),
        adapt=dataclasses.replace(config.adapt, method="none"),
    )


def metrics_of(workdir: Path) -> list[dict[str, Any]]:
    """The lines of `metrics.jsonl` without their times, which differ from run to run."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert all(line[name] > 0 for line in lines for name in TIMING[:2])
    return [{name: value for name, value in line.items() if name not in TIMING} for line in lines]


def shaken(tree: Any, size: float) -> Any:
    """A tree of arrays with noise of this size on top."""
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda x: x + size * rng.standard_normal(x.shape, np.float32), tree)


@functools.lru_cache(maxsize=2)
def initial_state(experiment: Experiment | LanguageModelRun) -> TrainState:
    """The initial state as host arrays, made once and without `jit`: compiling it takes as long as compiling the step.
    `test_parallel` compares what each mesh makes."""
    return jax.device_get(experiment.init_state())


def with_params(experiment: Experiment | LanguageModelRun, params: Any) -> TrainState:
    """The initial state with other parameters, so that none are made at random."""
    state = jax.jit(lambda: experiment.init_state()._replace(params=(), opt_state=()))()
    return jax.device_get(state)._replace(params=params)


def gradients_and_metrics(
    experiment: Experiment | LanguageModelRun, mesh: MeshConfig, params: Any = None
) -> tuple[Any, dict[str, float]]:
    """The gradients (recovered from one step of plain gradient descent) and metrics of step 0, at random parameters
    unless some are given."""
    rate = 2.0**10  # the difference of parameters near one says little of gradients that are small beside them
    spec = experiment.spec._replace(tx=optax.sgd(rate))
    state = initial_state(experiment) if params is None else with_params(experiment, params)
    before = state.params
    state = state._replace(opt_state=spec.tx.init(before))
    layout = make_layout(mesh)
    state = layout.from_global(state)
    step = layout.compile(functools.partial(train_step, spec=spec), state)
    batch = layout.put_batch(next(experiment.batches()))
    after, metrics = step(state, batch, layout.put_whole(experiment.catalog))
    gradients = jax.tree.map(lambda a, b: (a - b) / rate, before, jax.device_get(layout.to_global(after).params))
    return gradients, layout.metrics(metrics)


def assert_same_step(got: tuple[Any, dict[str, float]], expected: tuple[Any, dict[str, float]]) -> None:
    """Gradients and metrics agree to 1e-5."""
    (gradients, metrics), (expected_gradients, expected_metrics) = got, expected
    assert metrics.keys() == expected_metrics.keys()
    for name, value in expected_metrics.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
    # Gradients differ in size by orders of magnitude between arrays; float32 sums are as exact as their largest terms.
    largest = max(np.abs(gradient).max() for gradient in jax.tree.leaves(expected_gradients))

    def assert_same(path: Any, gradient: np.ndarray, expected: np.ndarray) -> None:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        scale = largest
        if name == "encoder/token_types/embedding":
            # The sum of the gradients of all tokens, which cancel to a thirtieth: no more exact than its terms.
            scale = np.abs(expected_gradients["encoder"]["tokens"]["embedding"]).sum(axis=0).max()
        np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-5 * scale, err_msg=name)

    jax.tree_util.tree_map_with_path(assert_same, gradients, expected_gradients)
