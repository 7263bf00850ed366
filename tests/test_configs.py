"""Every recipe and every file in `configs/` loads, is valid and builds a step that traces on the built-in shops."""

import dataclasses
import functools

import jax
import pytest

from llmrec_jax import config as config_lib
from llmrec_jax import recipes
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.parallel import make_layout, state_shardings
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.step import train_step
from tests.conftest import DATA_CACHE, REPO

FILES = [*sorted((REPO / "configs").rglob("*.py")), *map(recipes.find, recipes.names())]


def on_built_in_shops(config: config_lib.Config) -> config_lib.Config:
    """The same experiment with films and books for data, and an encoder of its sizes that needs no download."""
    shops = {"sources": ("demo:films",), "target": "demo:books", "cache_dir": str(DATA_CACHE)}
    encoder = dataclasses.replace(config.encoder, pretrained=None, mode="full")
    model = dataclasses.replace(config.model, text_map="trained")  # fixed vectors need a frozen encoder
    return dataclasses.replace(config, data=dataclasses.replace(config.data, **shops), encoder=encoder, model=model)


def test_quickstart_in_configs_is_the_recipe():
    assert config_lib.load(REPO / "configs" / "quickstart.py") == config_lib.load(recipes.find("quickstart"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_config_says_how_to_run_it(path):
    is_recipe = path.parent.name == "recipes"
    command = f"llmrec train {path.stem}" if is_recipe else f"train.py {path.relative_to(REPO).as_posix()}"
    assert command in path.read_text()


@pytest.mark.parametrize("path", {path.stem: path for path in FILES}.values(), ids=lambda path: path.stem)
def test_step_of_a_config_can_be_traced(path):
    experiment = experiment_lib.build(on_built_in_shops(config_lib.load(path)))
    config_lib.validate(experiment.config)
    layout = make_layout(experiment.config.mesh)  # of the eight fake devices
    state = jax.eval_shape(experiment.init_state)
    step = layout.compile(functools.partial(train_step, spec=experiment.spec), state)
    after, metrics = jax.eval_shape(step, state, make_batch(experiment.corpus.plan, 0), experiment.catalog)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), after) == jax.tree.map(lambda x: (x.shape, x.dtype), state)
    assert metrics["loss"].shape == ()


def test_the_pod_config_trains_a_gpt2_of_124m_end_to_end_on_a_data_x_fsdp_mesh():
    config = config_lib.load(next(path for path in FILES if path.stem == "tpu_pod_gpt2"))
    experiment = experiment_lib.build(on_built_in_shops(config))
    state = jax.eval_shape(experiment.init_state)
    stack = state.params["encoder"]["stack"]
    assert sum(leaf.size for leaf in jax.tree.leaves(stack)) == 12 * (12 * 768**2 + 13 * 768)  # GPT-2 124M's layers
    layout = make_layout(dataclasses.replace(config.mesh, data=2, fsdp=4))
    shardings = state_shardings(state, layout.mesh)
    cut = [
        leaf.size
        for leaf, sharding in zip(jax.tree.leaves(state), jax.tree.leaves(shardings), strict=True)
        if sharding.shard_shape(leaf.shape) != leaf.shape
    ]
    assert sum(cut) > 0.99 * sum(leaf.size for leaf in jax.tree.leaves(state))  # moments too
