"""The `hf` export: the layout that transformers and sentence-transformers read, and their vectors (with torch)."""

import json

import jax
import numpy as np
import pytest

from llmrec_jax.data.texts.tokenizer import encode, load_tokenizer
from llmrec_jax.exports import hf_export
from llmrec_jax.exports.jax_program import JaxOps
from llmrec_jax.exports.text_encoder import item_vectors, text_encoder_of
from llmrec_jax.models import from_pretrained
from tests.exports.variants import with_encoder

TEXTS = ["The Silent Harbour. a novel of the sea", "x", "the wolf " * 40]


@pytest.fixture(
    params=[("bert", "mean", True), ("bert", "cls", False), ("gpt2", "last", False)], ids=str, scope="module"
)
def exported(request, bundle, tmp_path_factory):
    kind, pooling, is_whitened = request.param
    tmp = tmp_path_factory.mktemp("hf")
    variant = with_encoder(bundle, tmp / "bundle", kind, pooling=pooling, is_whitened=is_whitened)
    (tmp / "out").mkdir()
    hf_export.write(variant, tmp / "out")
    return variant, tmp / "out"


def test_the_layout(exported):
    variant, folder = exported
    modules = json.loads((folder / "modules.json").read_text())
    names = [module["type"].rsplit(".", 1)[1] for module in modules]
    is_whitened = "whitening_mean" in variant.extras
    assert names == ["Transformer", "Pooling", *(["Dense", "Normalize"] if is_whitened else [])]
    assert all((folder / module["path"]).is_dir() for module in modules)
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    assert pooling.pop("word_embedding_dimension") == 32
    mode = {"mean": "mean_tokens", "cls": "cls_token", "last": "lasttoken"}[variant.dims["pooling"]]
    assert [name for name, is_on in pooling.items() if is_on] == [f"pooling_mode_{mode}"]
    assert json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"] == variant.text.max_tokens
    assert from_pretrained(folder).config == from_pretrained(variant.folder / "encoder").config


@pytest.mark.parity
@pytest.mark.filterwarnings("default")
def test_sentence_transformers_gives_the_features(exported):
    sentence_transformers = pytest.importorskip("sentence_transformers")
    variant, folder = exported
    model = sentence_transformers.SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    table = encode(load_tokenizer(variant.folder), TEXTS, variant.text.max_tokens)
    encoder = text_encoder_of(variant)
    with jax.numpy_rank_promotion("allow"):
        expected_BF, _ = item_vectors(JaxOps(encoder.arrays), encoder.facts, *table.padded())
    np.testing.assert_allclose(model.encode(TEXTS), expected_BF, atol=1e-4)
