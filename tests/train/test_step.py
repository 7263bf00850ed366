"""The layout of items in a batch changes only the time of a step, not its result; a step compiles once."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from llmrec_jax.config import MeshConfig
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.data.batches.pipeline import by_length
from llmrec_jax.models.forward import ForwardSpec
from llmrec_jax.parallel import make_layout
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.step import train_step
from llmrec_jax.types import SINGLE_DEVICE
from tests.train.tiny import SEVERAL_BUCKETS, assert_same_step, gradients_and_metrics, initial_state, tiny_config


@pytest.fixture(scope="module")
def experiment():
    config = tiny_config(**SEVERAL_BUCKETS)
    model = dataclasses.replace(config.model, user_tower="mean")  # quick to compile
    return experiment_lib.build(dataclasses.replace(config, model=model))


@pytest.fixture(scope="module")
def in_one_bucket(experiment):
    """The same run with every text padded to the length of the longest."""
    plan = experiment.corpus.plan
    plan = by_length(plan, np.full(len(plan.bucket_I), plan.lengths[-1]))
    corpus = dataclasses.replace(experiment.corpus, plan=plan)
    task = ForwardSpec(plan.lengths, tuple(plan.starts.tolist()), whole_catalogue=False)
    spec = experiment_lib.make_step_spec(experiment.config, experiment.graphdef, task, experiment.spec.terms)
    return dataclasses.replace(experiment, corpus=corpus, spec=spec)


def item_vectors(experiment, step):
    """The vectors of the distinct items of a batch, in the order of their numbers."""
    forward = jax.jit(lambda *args: experiment.spec.forward(*args, SINGLE_DEVICE)._replace(heads={}, collectives=None))
    params, batch = experiment.init_state().params, make_batch(experiment.corpus.plan, step)
    outputs = jax.device_get(forward(params, batch, experiment.catalog, jax.random.key(0)))
    real = np.flatnonzero(outputs.item_mask_U)
    real = real[np.argsort(outputs.item_ids_U[real])]
    return outputs.item_ids_U[real], outputs.items_UD[real]


def test_a_text_s_vector_is_the_same_in_any_bucket(experiment, in_one_bucket):
    plan = experiment.corpus.plan
    assert len(plan.lengths) > 1
    step = next(step for step in range(100) if all(items.mask_U.any() for items in make_batch(plan, step).items))
    (ids, vectors_UD), (expected_ids, expected_UD) = item_vectors(experiment, step), item_vectors(in_one_bucket, step)
    np.testing.assert_array_equal(ids, expected_ids)
    np.testing.assert_allclose(vectors_UD, expected_UD, atol=1e-5)


def test_buckets_change_neither_loss_nor_gradients(experiment, in_one_bucket):
    in_buckets = gradients_and_metrics(experiment, MeshConfig(data=1))
    assert_same_step(in_buckets, gradients_and_metrics(in_one_bucket, MeshConfig(data=1)))


def test_a_balanced_gradient_of_the_adaptation_has_its_share_on_any_mesh(in_one_bucket):
    """Of the ranking loss's norm; here on the item and user vectors of CORAL, whose own gradient is of another size."""
    experiment, share = in_one_bucket, 0.5  # quick to compile
    params = initial_state(experiment).params

    def gradients(mesh, **changes):
        spec = experiment.spec._replace(**changes)
        return gradients_and_metrics(dataclasses.replace(experiment, spec=spec), mesh, params)

    ranking, _ = gradients(MeshConfig(data=1), terms={"ranking": experiment.spec.terms["ranking"]})
    both, _ = gradients(MeshConfig(data=1))
    adaptation = jax.tree.map(np.subtract, both, ranking)
    scale = share * optax.tree.norm(ranking) / optax.tree.norm(adaptation)
    assert not 0.5 < scale < 2
    expected = jax.tree.map(lambda a, b: a + scale * b, ranking, adaptation)
    # The adaptation's gradient is a difference here, so it has fewer exact digits.
    largest = max(np.abs(gradient).max() for gradient in jax.tree.leaves(expected))
    for mesh in (MeshConfig(data=2, fsdp=2, tensor=2), MeshConfig(mode="pmap")):
        found, _ = gradients(mesh, gradient_share=lambda progress: jnp.float32(share))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * largest), found, expected)


@pytest.mark.parametrize("mesh", [MeshConfig(data=2, fsdp=2, tensor=2), MeshConfig(mode="pmap")], ids=["jit", "pmap"])
def test_batches_of_one_room_compile_the_step_once(experiment, in_one_bucket, mesh):
    shapes = {tuple(x.shape for x in jax.tree.leaves(make_batch(experiment.corpus.plan, step))) for step in range(5)}
    assert len(shapes) == 1
    layout, experiment = make_layout(mesh), in_one_bucket  # quick to compile
    state = layout.init(experiment.init_state)
    step = layout.compile(functools.partial(train_step, spec=experiment.spec), state)
    catalog = layout.put_whole(experiment.catalog)
    batches = [make_batch(experiment.corpus.plan, number) for number in range(5)]
    compiled = []

    def listen(event, duration, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            compiled.append(duration)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for number, batch in enumerate(batches):
            state, metrics = step(state, layout.put_batch(batch), catalog)
            assert np.isfinite(layout.metrics(metrics)["loss"])
            assert len(compiled) == 1, f"after step {number}"
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("platform", ["cuda", "tpu"])
def test_the_step_lowers_for_other_platforms(experiment, platform):
    state = jax.eval_shape(experiment.init_state)
    step = make_layout(MeshConfig()).compile(functools.partial(train_step, spec=experiment.spec), state)
    traced = step.trace(state, make_batch(experiment.corpus.plan, 0), experiment.catalog)
    assert "stablehlo.dot_general" in traced.lower(lowering_platforms=(platform,)).as_text()


def in_bfloat16_with_flash():
    config = tiny_config(**SEVERAL_BUCKETS)
    model = dataclasses.replace(config.model, compute_dtype="bfloat16")
    encoder = dataclasses.replace(config.encoder, attention="flash")
    return experiment_lib.build(dataclasses.replace(config, model=model, encoder=encoder))


def test_the_step_in_bfloat16_calls_cudnn_on_a_gpu(monkeypatch):
    """The encoder, in every bucket, forward and backward. JAX is told that cuDNN is installed."""
    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version", lambda: 91000)
    experiment = in_bfloat16_with_flash()
    batch = make_batch(experiment.corpus.plan, 0)
    step = jax.jit(functools.partial(train_step, spec=experiment.spec, collectives=SINGLE_DEVICE))
    traced = step.trace(jax.eval_shape(experiment.init_state), batch, experiment.catalog)
    text = traced.lower(lowering_platforms=("cuda",)).as_text()
    # A bucket is one scan over the layers: forward, and forward again in the backward pass.
    assert text.count("@__cudnn$fmhaSoftmax(") == 2 * len(batch.items)
    assert text.count("@__cudnn$fmhaSoftmaxBackward(") == len(batch.items)


def test_the_step_on_a_mesh_calls_splash_on_a_tpu(monkeypatch):
    """In every bucket, each device on its own rows and heads: the mesh is known from the type of what the step cut."""
    monkeypatch.setattr("llmrec_jax.models.splash.takes", lambda *operands: True)  # these texts are short
    experiment = in_bfloat16_with_flash()
    batch = make_batch(experiment.corpus.plan, 0)
    state = jax.eval_shape(experiment.init_state)
    step = make_layout(MeshConfig(data=2, fsdp=2, tensor=2)).compile(
        functools.partial(train_step, spec=experiment.spec), state
    )
    text = step.trace(state, batch, experiment.catalog).lower(lowering_platforms=("tpu",)).as_text()
    calls = [line for line in text.splitlines() if "@tpu_custom_call" in line]
    assert len(calls) == 3 * len(batch.items)  # forward, forward again, backward
    heads = experiment.config.encoder.num_heads // 2
    shares = {f"tensor<{len(items.ids_U) // 4}x{heads}x128x" for items in batch.items}
    assert {share for call in calls for share in re.findall(r"tensor<\d+x\d+x128x(?=\d+xbf16)", call)} == shares
