"""What only a GPU can show: cuDNN's attention computes what XLA's does, and a training step gives the CPU's numbers.

Run with LLMREC_TEST_PLATFORM=cuda; skipped without a GPU. The programs that a GPU would get are checked without one in
`models/test_attention.py`.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.models.attention import attention
from llmrec_jax.train import experiment as experiment_lib
from llmrec_jax.train.step import train_step
from tests.train.tiny import tiny_config

pytestmark = pytest.mark.skipif(jax.default_backend() != "gpu", reason="no GPU; or LLMREC_TEST_PLATFORM is not cuda")

LENGTHS_B = np.array([64, 64, 40, 7, 1, 33])


def total_and_output(kernel, causal, mask_BL):
    """A function of query, key and value: the sum of squares of the real tokens' outputs, and these."""

    def fn(*operands):
        out_BLHW = attention(*operands, mask_BL, causal, kernel).astype(jnp.float32) * mask_BL[:, :, None, None]
        return jnp.square(out_BLHW).sum(), out_BLHW

    return jax.jit(jax.value_and_grad(fn, (0, 1, 2), has_aux=True))


@pytest.mark.parametrize("width", [32, 64])
@pytest.mark.parametrize("causal", [False, True])
def test_cudnn_attention_is_as_exact_as_xla_in_bfloat16(causal, width):
    mask_BL = jnp.arange(64)[None] < LENGTHS_B[:, None]
    shape = (3, len(LENGTHS_B), 64, 4, width)
    operands = jnp.asarray(np.random.default_rng(0).normal(size=shape), jnp.bfloat16)
    flash, xla = (total_and_output(kernel, causal, mask_BL) for kernel in ("flash", "xla"))
    assert len(set(re.findall(r"__cudnn\$fmha\w+", flash.lower(*operands).as_text()))) == 2  # forward and backward

    def answers(fn, operands):
        (_, out_BLHW), gradients = fn(*operands)
        return [np.asarray(x, np.float64) for x in (out_BLHW, *gradients)]

    exact = answers(xla, operands.astype(jnp.float32))
    for got, plain, wanted in zip(answers(flash, operands), answers(xla, operands), exact, strict=True):
        error, allowed = (np.linalg.norm(x - wanted) / np.linalg.norm(wanted) for x in (got, plain))
        assert error < max(1.5 * allowed, 1e-2)


def test_training_steps_on_a_gpu_give_the_losses_of_a_cpu():
    experiment = experiment_lib.build(tiny_config())
    batches = [make_batch(experiment.corpus.plan, index) for index in range(4)]

    def losses(device):
        with jax.default_device(device):
            state = experiment.init_state()
            step = jax.jit(functools.partial(train_step, spec=experiment.spec))
            rows = []
            for batch in batches:
                state, metrics = step(state, batch, experiment.catalog)
                rows.append({name: float(value) for name, value in metrics.items()})
            return rows

    gpu, cpu = losses(jax.devices()[0]), losses(jax.devices("cpu")[0])
    for got, wanted in zip(gpu, cpu, strict=True):
        assert got == pytest.approx(wanted, rel=1e-3)
