"""Learning rates that differ between parts of the model."""

import jax
import numpy as np
import pytest

from llmrec_jax.config import OptimConfig
from llmrec_jax.train.optimizer import HEAD_SCALE, learning_rate, make_optimizer


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_without_a_warm_up_the_first_step_has_the_peak_rate(schedule):
    optim = OptimConfig(learning_rate=0.1, warmup_steps=0, schedule=schedule)
    np.testing.assert_allclose(learning_rate(optim, 4)(0), 0.1, rtol=1e-6)


def test_the_encoder_and_the_heads_of_the_adaptation_have_rates_of_their_own():
    params = {
        "encoder": {"bias": np.ones(3, np.float32)},
        "heads": {name: {"up": {"bias": np.ones(3, np.float32)}} for name in ("item", "user", "rating")},
        "user_tower": {"bias": np.ones(3, np.float32)},
    }
    optim = OptimConfig(learning_rate=0.1, warmup_steps=0, schedule="constant", encoder_scale=0.5)
    tx = make_optimizer(optim, 4)
    updates, _ = tx.update(params, tx.init(params), params)
    sizes = jax.tree.map(lambda x: float(-x[0]), updates)
    np.testing.assert_allclose(sizes["user_tower"]["bias"], 0.1, rtol=1e-4)
    np.testing.assert_allclose(sizes["encoder"]["bias"], 0.05, rtol=1e-4)
    np.testing.assert_allclose(sizes["heads"]["rating"]["up"]["bias"], 0.1, rtol=1e-4)
    for level in ("item", "user"):
        np.testing.assert_allclose(sizes["heads"][level]["up"]["bias"], 0.1 * HEAD_SCALE, rtol=1e-4)
