"""The answer of a run: which parts a regime has, and on whose validation events the weights are fitted."""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from llmrec_jax.config import AnswerConfig, DataConfig
from llmrec_jax.data.corpus import load_corpus
from llmrec_jax.data.domains import demo
from llmrec_jax.data.protocol import LAST_STEP
from llmrec_jax.errors import UserError
from llmrec_jax.predictor import VectorPredictor
from llmrec_jax.train.answer import Domains, make_answer

UNTRAINED = ["text", "co_purchase", "popularity"]


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Loads films and books; `cinema` is a copy of films under another name."""
    folder = tmp_path_factory.mktemp("answer")
    shutil.copytree(demo.write("films", folder / "cache"), folder / "cinema")

    def corpus_of(sources=("demo:films",), **fields):
        data = DataConfig(root=str(folder), target="demo:books", sources=sources, cache_dir=str(folder / "cache"))
        selection = LAST_STEP if fields.get("train_on") else "auto"
        return load_corpus(dataclasses.replace(data, **fields), 16, seed=0, selection=selection)

    return corpus_of


def answer_of(corpus, knows=(), config=AnswerConfig()):  # noqa: B008
    """The answer with a model that knows the next item of histories in the domains `knows`, and guesses elsewhere."""

    def model(domain):
        num_items, rng = len(corpus.domains[domain].item_ids), np.random.default_rng(domain)
        following = {
            tuple(history): target
            for split in ("valid", "test")
            for history, target in zip(*corpus.case(domain, split)[2:4], strict=True)
        }

        def users(histories):
            scores_NI = rng.standard_normal((len(histories), num_items)).astype(np.float32)
            for row, history in enumerate(histories):
                if domain in knows:
                    scores_NI[row, following[tuple(history)]] += 4
            return scores_NI

        return VectorPredictor("model", np.eye(num_items, dtype=np.float32), users)

    return make_answer(corpus, Domains(lambda _: None, model), config)


def test_a_full_run_gives_the_model_the_weight_that_it_earns(load):
    corpus = load(sources=())
    good, bad = answer_of(corpus, knows=[0]), answer_of(corpus)
    assert list(good.fit.weights) == [*UNTRAINED, "model"]
    assert good.fit.weights["model"] > 0
    assert "the model improves validation users of books" in good.fit.reason
    assert bad.fit.weights["model"] == 0
    assert good.blends["valid"].weights == good.fit.weights


def test_few_kept_users_keep_the_fixed_weights(load):
    fit = answer_of(load(target_fraction=0.1), knows=[1]).fit
    assert fit.weights == dict.fromkeys(UNTRAINED, 1.0) | {"model": 0.0}
    assert "fewer than 500" in fit.reason
    assert answer_of(load(target_fraction=0.6), knows=[1]).fit.weights["model"] > 0


def test_zero_shot_counts_nothing_and_judges_the_model_on_the_source_that_is_left_out(load):
    corpus = load(sources=("demo:films", "cinema"), target_fraction=0.0)
    left_out = corpus.protocol.left_out
    helps, only_at_home = answer_of(corpus, knows=[left_out]), answer_of(corpus, knows=[1 - left_out, 2])
    assert list(helps.fit.weights) == ["text", "model"]
    assert helps.fit.weights["model"] > 0
    assert helps.fit.weights["text"] == 1
    assert only_at_home.fit.weights["model"] == 0
    alone = answer_of(load(target_fraction=0.0), knows=[0, 1])
    assert alone.fit.weights["model"] == 0
    assert "no source was left out" in alone.fit.reason


def test_transductive_counts_the_histories_of_the_moment(load):
    corpus = load(target_fraction=0.0, regime="transductive")
    answer = answer_of(corpus)
    assert list(answer.fit.weights) == [*UNTRAINED, "model"]
    history = [corpus.case(1, "valid").histories[0]]
    valid, test = (answer.blends[split].part_scores(history) for split in ("valid", "test"))
    np.testing.assert_array_equal(valid[0], test[0])
    assert not np.array_equal(valid[1], test[1])


def test_a_weight_can_be_set_and_taken_from_another_run(load, tmp_path):
    corpus = load(sources=())
    assert answer_of(corpus, config=AnswerConfig(model_weight=2.5)).fit.weights["model"] == 2.5
    weights = dict.fromkeys(UNTRAINED, 0.5) | {"model": 0.3}
    (tmp_path / "report.json").write_text(json.dumps({"answer": {"weights": weights}}))
    assert answer_of(corpus, config=AnswerConfig(weights_from=str(tmp_path))).fit.weights == weights
    (tmp_path / "report.json").write_text(json.dumps({"answer": {"weights": {"text": 1.0}}}))
    with pytest.raises(UserError, match=r"its report has weights of text; this run has text, co_purchase"):
        answer_of(corpus, config=AnswerConfig(weights_from=str(tmp_path)))


def test_a_weight_of_the_graph_needs_a_graph(load):
    with pytest.raises(UserError, match=r"no two items of 'books' share a fact of a knowledge graph \(kg.tsv\)"):
        answer_of(load(sources=()), config=AnswerConfig(graph_weight=1.0))


def test_a_refit_counts_validation_events_and_tests_on_the_same_ones(load):
    before, after = load(sources=()), load(sources=(), train_on="train+valid")
    assert before.hashes["split"] == after.hashes["split"]
    assert before.hashes["run"] != after.hashes["run"]
    left, right = before.case(0, "test"), after.case(0, "test")
    np.testing.assert_array_equal(left.target_N, right.target_N)
    np.testing.assert_array_equal(left.users_N, right.users_N)
    valid = before.case(0, "valid")
    added_I = np.bincount(valid.target_N, minlength=450)
    np.testing.assert_array_equal(after.train_counts(0), before.train_counts(0) + added_I)
    assert not len(after.case(0, "valid").users_N)
    answer = answer_of(after)  # the command gives it the weights of the finished run
    assert answer.fit.reason == "fixed, because books has 0 validation users, fewer than 500"
    assert answer.calibration is None
    with pytest.raises(UserError, match="call llmrec refit"):
        load_corpus(DataConfig(sources=(), target="demo:books", train_on="train+valid"), 16, seed=0, selection="auto")
