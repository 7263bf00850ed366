"""What the contrastive losses do besides their formulas: repeated positives, and LLM-RecG with two domains."""

import jax
import numpy as np
from scipy.special import logsumexp

from llmrec_jax.losses import adaptation

N, D = 12, 4


def vectors():
    return np.random.default_rng(0).normal(size=(2, N, D)).astype(np.float32)


def test_other_copies_of_a_positive_are_not_its_negatives():
    anchors_ND, positives_ND = vectors()
    id_N, mask_N = np.arange(N) // 2, np.arange(N) != 3
    value = jax.jit(adaptation.multi_domain_contrastive)(anchors_ND, positives_ND, mask_N, positive_ids_N=id_N)
    score_NN = anchors_ND @ positives_ND.T
    score_NN /= 0.07 * np.linalg.norm(anchors_ND, axis=1)[:, None] * np.linalg.norm(positives_ND, axis=1)
    losses = []
    for n in np.flatnonzero(mask_N):
        others = [m for m in range(N) if mask_N[m] and id_N[m] != id_N[n]]
        losses.append(logsumexp(score_NN[n, [n, *others]]) - score_NN[n, n])
    np.testing.assert_allclose(value, np.mean(losses), rtol=1e-5)


def test_with_two_domains_the_alignment_of_llm_recg_has_no_part_between_them():
    items_ND, _ = vectors()
    domain_N, mask_N = np.arange(N) % 2, np.ones(N, bool)

    @jax.jit
    def gradient(inter_weight):
        loss = lambda x, w: adaptation.llm_recg(x, domain_N, mask_N, num_domains=2, inter_weight=w)  # noqa: E731
        return jax.grad(loss)(items_ND, inter_weight)

    np.testing.assert_array_equal(gradient(0.0), gradient(100.0))
    assert np.abs(gradient(0.0)).max() > 1e-4
