"""The exports give the scores, the best items and the item vectors of the `Recommender` that they were made from."""

import importlib.util
import warnings
from typing import get_args, get_type_hints

import numpy as np
import onnxruntime
import pytest

from benchmarks import int8_items
from llmrec_jax import Recommender
from llmrec_jax.config import ModelConfig
from llmrec_jax.data.texts.tokenizer import encode, load_tokenizer
from llmrec_jax.evaluate.host_ranking import rank_blend
from llmrec_jax.evaluate.verdict import ndcg
from llmrec_jax.exports import jax_program, network, numpy_export, onnx_export
from llmrec_jax.exports.scorer import scorer_of
from llmrec_jax.exports.text_encoder import text_encoder_of
from llmrec_jax.inference import bundle as bundle_lib
from llmrec_jax.models.architectures import ENCODERS
from tests.exports.variants import HISTORIES, with_encoder, with_model

TOWERS = {
    "transformer": {},
    "bert4rec": {"user_tower": "bert4rec", "recency_mean": False},
    "bert4rec with mean": {"user_tower": "bert4rec", "recency_mean": True},
    "hstu": {"user_tower": "hstu", "score": "dot", "item_bias": True},
    "ligr": {"user_tower": "ligr", "item_bias": True},
    "mean": {"user_tower": "mean", "score": "dot"},
    "sasrec": {"user_tower": "transformer", "recency_mean": False, "score": "dot"},
}


@pytest.fixture(params=TOWERS, scope="module")
def variant(request, bundle):
    return with_model(bundle, **TOWERS[request.param]) if TOWERS[request.param] else bundle


@pytest.fixture(scope="module")
def live(variant):
    return live_scores(variant)


def live_scores(bundle):
    """The scores of all items for each of HISTORIES, by id, without those of the history."""
    recommender = Recommender(bundle)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [recommender.recommend(history, k=10_000) for history in HISTORIES]


def numbers(scorer):
    known = {item_id: n for n, (item_id, _) in reversed(list(enumerate(scorer.items)))}
    return [[known[item_id] for item_id in history] for history in HISTORIES]


def assert_agree(scores_BJ, scorer, live):
    assert scores_BJ.shape == (len(HISTORIES), scorer.facts["num_target"])
    ids = [item_id for item_id, _ in scorer.items[: scores_BJ.shape[1]]]
    for scores_J, found, history in zip(scores_BJ, live, HISTORIES, strict=True):
        own = dict(zip(ids, scores_J.tolist(), strict=True))
        np.testing.assert_allclose([own[row.item_id] for row in found], [row.score for row in found], atol=1e-4)
        best = sorted((item_id for item_id in ids if item_id not in history), key=lambda item_id: -own[item_id])
        assert best[:10] == [row.item_id for row in found[:10]]


def imported(path):
    spec = importlib.util.spec_from_file_location("exported_recommender", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_user_tower_and_encoder_is_exported():
    known = get_args(get_type_hints(ModelConfig)["user_tower"])
    assert {changes.get("user_tower", "transformer") for changes in TOWERS.values()} == set(known)
    assert {*known, *ENCODERS} - {"mean"} == set(network.BLOCKS)


def test_numpy_agrees(variant, live, tmp_path):
    numpy_export.write(scorer_of(variant), tmp_path)
    recommender = imported(tmp_path / "recommender.py").Recommender(tmp_path)
    for history, expected in zip(HISTORIES, live, strict=True):
        found = recommender.recommend(history, k=10_000)
        assert [row[0] for row in found[:10]] == [row.item_id for row in expected[:10]]
        assert [row[2] for row in found[:10]] == [row.title for row in expected[:10]]
        scores = {item_id: score for item_id, score, _ in found}
        own = [scores[row.item_id] for row in expected]
        np.testing.assert_allclose(own, [row.score for row in expected], atol=1e-4)
    assert recommender.recommend(["unknown"], k=3) == recommender.recommend([], k=3)


def test_removed_items_are_not_recommended(bundle, tmp_path):
    recommender = Recommender(bundle)
    first, second, *_ = recommender.recommend([], k=2).ids
    recommender.remove_items([first, second])
    recommender.add_items([{"item_id": second, "title": "A new edition"}])
    recommender.save(tmp_path / "bundle")
    scorer = scorer_of(bundle_lib.load(tmp_path / "bundle"))
    numpy_export.write(scorer, tmp_path)
    exported = imported(tmp_path / "recommender.py").Recommender(tmp_path)
    for history in ([], ["book-0005"], [first], [second]):
        found, expected = exported.recommend(history, k=10_000), recommender.recommend(history, k=10_000)
        assert [row[0] for row in found[:10]] == expected.ids[:10]
        assert {row[0] for row in found} == set(expected.ids)
        assert len(found) == len(expected)
    onnx_export.write(scorer, None, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "scorer.onnx")
    [scores_1J] = session.run(["scores"], {"history": np.array([[-1, 5]], np.int64)})
    assert [scorer.items[n][0] for n in np.flatnonzero(np.isneginf(scores_1J[0]))] == sorted([first, second])


def test_onnx_agrees(variant, live, tmp_path):
    scorer = scorer_of(variant)
    onnx_export.write(scorer, None, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "scorer.onnx")
    history_BS = jax_program.padded(numbers(scorer), 1).astype(np.int64)
    scores_BJ, users_BD = session.run(["scores", "user_vectors"], {"history": history_BS})
    assert_agree(scores_BJ, scorer, live)
    assert users_BD.shape == (len(HISTORIES), variant.extras["item_vectors"].shape[1])


def test_jax_agrees(bundle, tmp_path):
    scorer = scorer_of(bundle)
    jax_program.write(scorer, text_encoder_of(bundle), tmp_path)
    program = jax_program.load(tmp_path)
    assert program.manifest["platforms"] == ["cpu", "cuda", "tpu"]
    history_BS = jax_program.padded(numbers(scorer), program.manifest["shortest_history"])
    scores_BJ = np.asarray(program.call(history_BS)[0])
    assert_agree(scores_BJ, scorer, live_scores(bundle))
    np.testing.assert_allclose(program.call(history_BS[:1])[0], scores_BJ[:1], atol=1e-5)
    texts = ["a light novel of the sea", ""]
    table = encode(load_tokenizer(bundle.folder), texts, program.manifest["tokens"])
    vectors_BD = jax_program.load(tmp_path, "encoder").call(*table.padded(None, program.manifest["tokens"]))[1]
    np.testing.assert_allclose(vectors_BD, Recommender(bundle).encode(texts), atol=1e-4)
    with pytest.raises(ValueError, match=r"no other\.stablehlo"):
        jax_program.load(tmp_path, "other")


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("bert", {"pooling": "cls", "is_whitened": True}),
        ("gpt2", {"pooling": "last", "item_features": "text", "max_id_norm": 0.0, "score": "dot", "item_bias": True}),
        ("bert", {"item_features": "text+id", "text_map": "fixed", "max_id_norm": 0.5}),
    ],
)
def test_texts_become_the_same_item_vectors(bundle, tmp_path, kind, options):
    variant = with_encoder(bundle, tmp_path / "bundle", kind, **options)
    onnx_export.write(scorer_of(variant), text_encoder_of(variant), tmp_path)
    texts = ["The Silent Harbour. a novel of the sea", "x", "the " * 40]
    tokens_BL, mask_BL = encode(load_tokenizer(variant.folder), texts, variant.text.max_tokens).padded()
    session = onnxruntime.InferenceSession(tmp_path / "encoder.onnx")
    inputs = {"input_ids": tokens_BL.astype(np.int64), "attention_mask": mask_BL.astype(np.int64)}
    (vectors_BD,) = session.run(["item_vectors"], inputs)
    expected_BD = Recommender(variant)._network.item_vectors(texts)
    np.testing.assert_allclose(vectors_BD, expected_BD, atol=1e-4 * np.abs(expected_BD).max())


def test_int8_items_are_a_quarter_of_the_size_and_rank_alike(bundle, tmp_path):
    variant = with_model(bundle, width=64, num_heads=4)
    exact, rounded = scorer_of(variant), scorer_of(variant, int8=True)
    assert rounded.arrays["vectors"].dtype == np.int8
    numpy_export.write(rounded, tmp_path)
    own = imported(tmp_path / "recommender.py")
    ours, theirs = own.Ops(exact.arrays), own.Ops(rounded.arrays)
    history_BS = jax_program.padded(numbers(exact), 1)
    scores_BJ, close_BJ = (own.score(o, exact.facts, history_BS)[0] for o in (ours, theirs))
    error = np.abs(scores_BJ - close_BJ).max()
    assert 0 < error < 0.03 * np.abs(scores_BJ).max()
    onnx_export.write(rounded, None, tmp_path)
    session = onnxruntime.InferenceSession(tmp_path / "scorer.onnx")
    (onnx_BJ,) = session.run(["scores"], {"history": history_BS.astype(np.int64)})
    np.testing.assert_allclose(onnx_BJ, close_BJ, atol=1e-4)


def test_the_benchmark_of_int8_ranks_as_the_evaluation_does(run_and_folder, bundle):
    run = run_and_folder[0]
    case = run.experiment.corpus.case(run.experiment.corpus.target, "test")
    histories, target_N = case.histories[:70], case.target_N[:70]
    expected_N = ndcg(rank_blend(run.answer.blends["test"], histories, target_N)["answer"].rank_N)
    found_N = int8_items.ndcg(scorer_of(bundle), histories, target_N)
    np.testing.assert_allclose(found_N, expected_N, atol=1e-6)
    assert 0 < found_N.mean() < 1
