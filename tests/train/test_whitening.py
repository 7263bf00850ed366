"""Text vectors of a frozen encoder, whitened by domain: of equal moments, and with the target's for new items."""

import dataclasses

import numpy as np
import pytest

from llmrec_jax.config import EncoderConfig
from llmrec_jax.train.item_inputs import text_vectors
from llmrec_jax.train.prepared import prepare
from tests.train.tiny import pretrained_config


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    config = pretrained_config(tmp_path_factory.mktemp("encoder"), "bert", num_layers=1)
    encoder = EncoderConfig(pretrained=config.encoder.pretrained, mode="frozen", whitening="domain")
    shops = dataclasses.replace(config.data, sources=("demo:films",), field_dropout=0.5)
    return prepare(dataclasses.replace(config, encoder=encoder, data=shops))


def whitened(rows_NF, of_MF):
    """By the mean and covariance of `of_MF`, with the symmetric root; then of length 1."""
    mean_F, covariance_FF = of_MF.mean(axis=0), np.cov(of_MF, rowvar=False, bias=True)
    values_F, vectors_FF = np.linalg.eigh(covariance_FF)
    root_FF = vectors_FF @ np.diag((values_F + 0.1 * values_F.mean()) ** -0.5) @ vectors_FF.T
    rows_NF = (rows_NF - mean_F) @ root_FF
    return rows_NF / np.linalg.norm(rows_NF, axis=1, keepdims=True)


def test_each_domain_is_whitened_by_its_own_moments_and_new_items_by_the_target_s(data):
    joint, config = data.corpus.joint, data.config
    assert isinstance(data.items, np.ndarray)
    assert len(data.items) == 2 * len(joint)  # the titles follow
    for number, domain in enumerate(data.corpus.domains):
        start, end = joint.starts[number : number + 2]
        raw_NF = text_vectors(config, data.pretrained, data.tokenizer, domain.texts, config.data.max_tokens, "mean")
        raw_NF = raw_NF.astype(np.float64)
        np.testing.assert_allclose(data.items[start:end], whitened(raw_NF, raw_NF), atol=2e-3)
    np.testing.assert_allclose(data.whitening(raw_NF.astype(np.float32)), whitened(raw_NF, raw_NF), atol=2e-3)
