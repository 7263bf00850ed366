"""Every adaptation method in a real step; one of a user's own through a whole run; and what a run says it did."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from llmrec_jax import Recommender
from llmrec_jax.config import AdaptConfig
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.inference import bundle
from llmrec_jax.losses import objective
from llmrec_jax.losses.methods import DISCRIMINATOR, METHODS, Method
from llmrec_jax.parallel import make_layout
from llmrec_jax.train import adaptation, steps
from llmrec_jax.train.experiment import assemble
from llmrec_jax.train.export import bundle_in
from llmrec_jax.train.loop import train_and_evaluate
from llmrec_jax.train.prepared import prepare
from llmrec_jax.types import SINGLE_DEVICE
from tests.train.tiny import metrics_of, tiny_config

# Those that read more of a step than vectors and masks; one level each.
CASES = [(name, method.levels[-1]) for name, method in METHODS.items() if method.head is not None]
CASES += [("afn", "item"), ("afn", "user"), ("contrastive", "item"), ("joint_mmd", "user")]


@pytest.fixture(scope="module")
def config():
    config = tiny_config(unlabelled_items=16)
    model = dataclasses.replace(config.model, user_tower="mean")  # quick to trace
    train = dataclasses.replace(config.train, steps=4, eval_every=2, checkpoint_every=4, selection="last_step")
    optim = dataclasses.replace(config.optim, schedule="constant")
    return dataclasses.replace(config, model=model, train=train, optim=optim)


@pytest.fixture(scope="module")
def data(config):
    return prepare(config)


@pytest.mark.parametrize(("name", "level"), CASES)
def test_a_method_fits_the_heads_and_outputs_of_the_real_model(config, data, name, level):
    """Traced, not run."""
    experiment = assemble(data, dataclasses.replace(config, adapt=AdaptConfig(method=name, level=level)))
    params = jax.eval_shape(experiment.init_state).params
    assert ("heads" in params) == (METHODS[name].head is not None)

    def means(params, batch, catalog):
        outputs = experiment.spec.forward(params, batch, catalog, jax.random.key(0), SINGLE_DEVICE)
        return objective.evaluate(experiment.spec.terms, outputs, 0.5)

    found = jax.eval_shape(means, params, make_batch(experiment.corpus.plan, 0), experiment.catalog)
    assert {f"{term}/{level}" for term in METHODS[name].terms} <= found.keys()
    assert all(x.shape == () for x in jax.tree.leaves(found))


def _mine(sides, progress):
    """Trains its head on the features, and the features by it."""
    assert sides.head is not None
    return jnp.mean(jnp.where(sides.is_target_N, jnp.square(sides.head(sides.features_ND) - 1), 0))


@pytest.fixture(scope="module")
def own(config, data, tmp_path_factory):
    """A run with a method of one's own, and the same run after more steps."""
    workdir = tmp_path_factory.mktemp("own") / "run"
    METHODS["mine"] = Method({"mine": (_mine, 1.0)}, head=DISCRIMINATOR)
    try:
        config = dataclasses.replace(config, adapt=AdaptConfig(method="mine", level="both", weight=1.0))

        def run(steps):
            longer = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=steps))
            return train_and_evaluate(
                longer, workdir, Console(quiet=True), export=bundle_in(workdir),
                data=dataclasses.replace(data, config=longer), reports=steps > 4,
            )  # fmt: skip

        yield workdir, run(4), run(6)
    finally:
        del METHODS["mine"]


def test_a_method_of_ones_own_trains_saves_resumes_and_loads(own):
    workdir, first, second = own
    assert [line["step"] for line in metrics_of(workdir)] == [1, 2, 3, 4, 5, 6]
    assert all(line[f"loss/mine/{level}"] > 0 for line in metrics_of(workdir) for level in ("item", "user"))
    assert set(second.params["heads"]) == {"item", "user"}
    for level in ("item", "user"):
        kernels = [run.params["heads"][level]["up"]["kernel"] for run in (first, second)]
        assert np.abs(kernels[0] - kernels[1]).max() > 1e-4
    joint = second.experiment.corpus.joint
    recommender = Recommender.load(workdir / bundle.NAME)
    assert len(recommender.recommend(history=[joint.item_ids[-1]], k=3)) == 3


def test_the_log_has_the_distance_and_the_share_of_the_gradient_where_a_run_validates(own):
    lines = metrics_of(own[0])
    assert [line["step"] for line in lines if adaptation.A_DISTANCE in line] == [1, 2, 4, 6]
    assert [line["step"] for line in lines if adaptation.SHARE in line] == [2, 4, 6]
    assert all(0 <= line[adaptation.A_DISTANCE] <= 2 for line in lines if adaptation.A_DISTANCE in line)
    assert all(line["gradient_scale/adapt"] == 1 for line in lines if adaptation.SHARE in line)


@pytest.mark.parametrize("balance", ["loss", "gradient"])
def test_a_step_that_logs_the_share_each_time_is_compiled_once(config, balance):
    config = dataclasses.replace(config, adapt=AdaptConfig(method="coral", balance=balance))
    experiment = assemble(prepare(config), config)
    state = jax.eval_shape(experiment.init_state)
    step_fn, validated_fn = steps._step_fns(experiment, make_layout(config.mesh), state)
    assert (validated_fn is step_fn) == (balance == "gradient")


def test_the_report_says_what_the_adaptation_did(own):
    workdir = own[0]
    report, lines = json.loads((workdir / "report.json").read_text()), metrics_of(workdir)
    found = report["adaptation"]
    assert found["a_distance_items"] == {
        "start": lines[0][adaptation.A_DISTANCE], "end": lines[-1][adaptation.A_DISTANCE]
    }  # fmt: skip
    assert found["gradient_share"] == np.median([line[adaptation.SHARE] for line in lines if adaptation.SHARE in line])
    assert set(found["losses"]) == {"mine/item", "mine/user"}
    assert not found["is_faint"]


def test_a_run_that_never_validates_says_that_nothing_was_measured(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss/adapt/item": 0.1, "loss/ranking/source": 4.0}\n')
    found = adaptation.summary(tmp_path, AdaptConfig(method="mmd"))
    assert found.text == "adaptation mmd: its effect was not measured, because train.eval_every is 0"
    assert found.facts["gradient_share"] is None


def write_metrics(folder: Path, share: float) -> Path:
    lines = [
        {"step": step, "loss/adapt/item": 2e-4, "loss/ranking/source": 4.5, "loss/ranking/target": 0.5,
         **({adaptation.SHARE: share, adaptation.A_DISTANCE: 1.5 - step / 10} if step in (2, 4) else {})}
        for step in range(1, 5)
    ]  # fmt: skip
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_a_run_whose_adaptation_changed_next_to_nothing_says_so(tmp_path):
    adapt = AdaptConfig(method="coral", weight=0.5)
    faint = adaptation.summary(write_metrics(tmp_path, 0.004), adapt)
    assert faint.facts["is_faint"]
    assert faint.text == (
        "adaptation coral: A-distance of the items 1.30 at the start, 1.10 at the end. It changed next to nothing: the "
        "term was 0.0001 and the ranking loss 5, its gradient 0.4 % of the ranking loss's. Raise adapt.weight, or "
        "set adapt.balance=gradient"
    )
    balanced = adaptation.summary(tmp_path, dataclasses.replace(adapt, balance="gradient"))
    assert balanced.text.endswith("of the ranking loss's. Raise adapt.weight")
    strong = adaptation.summary(write_metrics(tmp_path, 0.1), adapt)
    assert not strong.facts["is_faint"]
    assert strong.text.endswith("1.10 at the end; its gradient was 10 % of the ranking loss's (median)")
    # The density ratio acts through weights of the ranking loss: its own loss trains the discriminator alone.
    assert not adaptation.summary(write_metrics(tmp_path, 0.0), AdaptConfig(method="density_ratio")).facts["is_faint"]
    assert adaptation.summary(tmp_path, AdaptConfig()) is None
