"""What the contrastive losses do besides their formulas: shared positives, and LLM-RecG with two domains."""

import jax
import numpy as np
from scipy.special import logsumexp

from llmrec_jax.losses import adaptation

N, D = 12, 4


def vectors():
    return np.random.default_rng(0).normal(size=(2, N, D)).astype(np.float32)


def test_several_rows_may_share_a_positive_and_padding_is_no_negative():
    anchors_ND, items_JD = vectors()
    positive_N, mask_N, is_item_J = np.arange(N) // 2, np.arange(N) != 3, np.arange(N) != 7
    items_JD[7] = np.nan
    value = jax.jit(adaptation.multi_domain_contrastive)(anchors_ND, items_JD, positive_N, mask_N, is_item_J)
    score_NJ = anchors_ND @ items_JD.T
    score_NJ /= 0.07 * np.linalg.norm(anchors_ND, axis=1)[:, None] * np.linalg.norm(items_JD, axis=1)
    losses_N = logsumexp(score_NJ[:, is_item_J], axis=1) - score_NJ[np.arange(N), positive_N]
    np.testing.assert_allclose(value, np.mean(losses_N[mask_N]), rtol=1e-5)


def test_with_two_domains_the_alignment_of_llm_recg_has_no_part_between_them():
    items_ND, _ = vectors()
    domain_N, mask_N = np.arange(N) % 2, np.ones(N, bool)

    @jax.jit
    def gradient(inter_weight):
        loss = lambda x, w: adaptation.llm_recg(x, domain_N, mask_N, num_domains=2, inter_weight=w)  # noqa: E731
        return jax.grad(loss)(items_ND, inter_weight)

    np.testing.assert_array_equal(gradient(0.0), gradient(100.0))
    assert np.abs(gradient(0.0)).max() > 1e-4
