"""Normalization and whitening per domain, against NumPy."""

import jax
import numpy as np
import pytest

from llmrec_jax.losses import adaptation

N, D, E, G = 40, 4, 3, 3


@pytest.fixture(scope="module")
def batch():
    """Domains 0 and 1 with rows of different moments, domain 2 without any; NaN in masked rows and unknown domains."""
    rng = np.random.default_rng(0)
    domain_N = rng.permutation([0] * 17 + [1] * 13 + [7] * 5 + [-1] * 5)
    mask_N = np.arange(N) % 5 != 0
    mixing_GDD = rng.normal(size=(2, D, D))
    rows_ND = np.einsum("nd,nde->ne", rng.normal(size=(N, D)), mixing_GDD[np.clip(domain_N, 0, 1)]) + domain_N[:, None]
    is_used_N = mask_N & (domain_N >= 0) & (domain_N < G)
    rows_ND[~is_used_N] = np.nan
    return rows_ND.astype(np.float32), domain_N, mask_N, is_used_N


@jax.jit
def normalize(rows_ND, domain_N, mask_N, scale_GD, shift_GD):
    moments = adaptation.domain_moments(rows_ND, domain_N, mask_N, num_domains=G)
    options = {"scale_GD": scale_GD, "shift_GD": shift_GD, "epsilon": 1e-3}
    return moments, adaptation.domain_normalization(rows_ND, domain_N, mask_N, moments, **options)


@jax.jit
def whiten(rows_ND, domain_N, mask_N):
    parameters = adaptation.whitening_parameters(rows_ND, domain_N, mask_N, num_domains=G, epsilon=1e-6)
    return *parameters, adaptation.domain_whitening(rows_ND, domain_N, mask_N, *parameters)


def parameters(*shape):
    return np.random.default_rng(3).normal(size=shape).astype(np.float32)


def normalized(rows_ND, domain_N, is_used_N, scale_GD, shift_GD):
    result_ND = np.zeros_like(rows_ND)
    for g in (0, 1):
        of_g = is_used_N & (domain_N == g)
        x = rows_ND[of_g]
        result_ND[of_g] = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-3) * scale_GD[g] + shift_GD[g]
    return result_ND


def test_normalization_is_that_of_each_domain_s_own_rows(batch):
    rows_ND, domain_N, mask_N, is_used_N = batch
    scale_GD, shift_GD = parameters(2, G, D)
    moments, result_ND = normalize(rows_ND, domain_N, mask_N, scale_GD, shift_GD)
    expected_ND = normalized(rows_ND.astype(np.float64), domain_N, is_used_N, scale_GD, shift_GD)
    np.testing.assert_allclose(result_ND, expected_ND, rtol=1e-4, atol=1e-5)
    for g in (0, 1):
        of_g = rows_ND[is_used_N & (domain_N == g)]
        np.testing.assert_allclose(moments.mean_GD[g], of_g.mean(axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(moments.variance_GD[g], of_g.var(axis=0), rtol=1e-5)
    for statistic_GD in moments:
        np.testing.assert_array_equal(statistic_GD[2], 0)


def test_the_gradient_of_normalization_passes_the_statistics(batch):
    rows_ND, domain_N, mask_N, is_used_N = batch
    scale_GD, shift_GD = parameters(2, G, D)
    weight_ND, direction_ND = np.random.default_rng(4).normal(size=(2, N, D)).astype(np.float32)

    @jax.grad
    def gradient(rows_ND):
        return (weight_ND * normalize(rows_ND, domain_N, mask_N, scale_GD, shift_GD)[1]).sum()

    def value(rows_ND):
        return (weight_ND * normalized(rows_ND, domain_N, is_used_N, scale_GD, shift_GD))[is_used_N].sum()

    got_ND, rows_ND = gradient(rows_ND), rows_ND.astype(np.float64)
    np.testing.assert_array_equal(got_ND[~is_used_N], 0)
    expected = (value(rows_ND + 1e-5 * direction_ND) - value(rows_ND - 1e-5 * direction_ND)) / 2e-5
    np.testing.assert_allclose(np.sum(got_ND * direction_ND), expected, rtol=1e-3)


def test_whitening_gives_every_domain_the_identity_as_covariance(batch):
    rows_ND, domain_N, mask_N, is_used_N = batch
    shift_GD, matrix_GDD, result_ND = whiten(rows_ND, domain_N, mask_N)
    for g in (0, 1):
        of_g = is_used_N & (domain_N == g)
        np.testing.assert_allclose(result_ND[of_g].mean(axis=0), 0, atol=1e-4)
        np.testing.assert_allclose(np.cov(result_ND[of_g], rowvar=False, bias=True), np.eye(D), atol=1e-3)
        np.testing.assert_allclose(matrix_GDD[g], matrix_GDD[g].T, atol=1e-4)  # the symmetric root
        assert np.linalg.eigvalsh(matrix_GDD[g]).min() > 0
    assert np.isfinite(matrix_GDD).all()
    np.testing.assert_array_equal(result_ND[~is_used_N], 0)
    np.testing.assert_array_equal(shift_GD[2], 0)


def test_the_start_of_whitening_has_no_gradient_but_its_parameters_have(batch):
    rows_ND, domain_N, mask_N, is_used_N = batch
    weight_NE, shift_GD, matrix_GDE = parameters(N, E), parameters(G, D), parameters(G, D, E)

    @jax.jit
    @jax.grad
    def start(rows_ND):
        return sum(x.sum() for x in whiten(rows_ND, domain_N, mask_N)[:2])

    np.testing.assert_array_equal(start(rows_ND), 0)

    def loss(rows_ND, shift_GD, matrix_GDE):
        result_NE = adaptation.domain_whitening(rows_ND, domain_N, mask_N, shift_GD, matrix_GDE)
        return (weight_NE * result_NE).sum(), result_NE

    gradients, result_NE = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(rows_ND, shift_GD, matrix_GDE)
    domain_N = np.clip(domain_N, 0, G - 1)
    used_N1 = is_used_N[:, None]
    centered_ND = np.where(used_N1, rows_ND - shift_GD[domain_N], 0)
    used_NE = weight_NE * used_N1
    expected_NE = np.einsum("nd,nde->ne", centered_ND, matrix_GDE[domain_N])
    rows_gradient_ND = np.einsum("ne,nde->nd", used_NE, matrix_GDE[domain_N])
    one_hot_NG = np.eye(G)[domain_N]
    np.testing.assert_allclose(result_NE, expected_NE, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradients[0], rows_gradient_ND, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradients[1], -one_hot_NG.T @ rows_gradient_ND, rtol=1e-4, atol=1e-4)
    expected_GDE = np.einsum("ng,nd,ne->gde", one_hot_NG, centered_ND, used_NE)
    np.testing.assert_allclose(gradients[2], expected_GDE, rtol=1e-4, atol=1e-4)


def test_a_domain_of_one_row_or_of_equal_rows_is_finite(batch):
    _, _, mask_N, _ = batch
    alone_N = np.where(np.arange(N) == 1, 0, 1)
    scale_GD, shift_GD = np.ones((G, D), np.float32), np.zeros((G, D), np.float32)
    equal_ND = np.full((N, D), 0.3, np.float32)

    def total(rows_ND):
        return normalize(rows_ND, alone_N, mask_N, scale_GD, shift_GD)[1].sum()

    assert np.isfinite(jax.grad(total)(equal_ND)).all()
    np.testing.assert_allclose(normalize(equal_ND, alone_N, mask_N, scale_GD, shift_GD)[1], 0, atol=1e-3)
    assert all(np.isfinite(x).all() for x in whiten(equal_ND, alone_N, mask_N))
