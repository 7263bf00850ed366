"""The joint catalogue, the token cache and TF-IDF."""

from pathlib import Path

import numpy as np
import pytest

from llmrec_jax.data.domains.domain import Domain
from llmrec_jax.data.texts import catalog
from llmrec_jax.data.texts.catalog import JointCatalog, token_table
from llmrec_jax.data.texts.tfidf import fit_tfidf, terms_of, tfidf
from llmrec_jax.data.texts.tokenizer import TokenTable, encode, train_tokenizer
from llmrec_jax.errors import UserError


def domain(name: str, titles: list[str]) -> Domain:
    none = np.zeros(0)
    return Domain(
        name=name,
        folder=Path(),
        hash="",
        order="none",
        item_ids=[f"i{n}" for n in range(len(titles))],
        titles=titles,
        texts=[f"{title}. {name}" for title in titles],
        user_ids=[],
        items_E=none.astype(np.int32),
        ratings_E=none.astype(np.float32),
        timestamps_E=none.astype(np.int64),
        offsets=np.zeros(1, np.int64),
        report={},
    )


@pytest.fixture(scope="module")
def joint():
    return JointCatalog.of(
        [domain("films", ["Red", "Blue Moon"]), domain("music", ["Blue"]), domain("books", ["Moon"])]
    )


@pytest.fixture(scope="module")
def tokenizer(joint):
    return train_tokenizer(joint.texts, "bert", 60)


def test_items_are_numbered_domain_by_domain(joint):
    assert joint.starts.tolist() == [0, 2, 3, 4]
    assert joint.domain_I.tolist() == [0, 0, 1, 2]
    assert joint.item_ids == ["i0", "i1", "i0", "i0"]
    assert joint.texts[joint.starts[2]] == "Moon. books"


def test_to_catalog_sets_exactly_one_kind_of_feature(joint, tokenizer):
    log_q_I = np.log(np.full(4, 0.25))
    table = encode(tokenizer, joint.texts, 16)
    trained_I = np.array([True, False, True, False])
    read = joint.to_catalog(table, log_q_I, trained_I)
    assert read.features_IF is None
    assert read.tokens_IL[3][read.token_mask_IL[3]].tolist() == tokenizer.encode("Moon. books").ids
    assert read.log_q_I.dtype == np.float32
    assert read.trained_I.tolist() == trained_I.tolist()
    frozen = joint.to_catalog(np.eye(4), log_q_I, trained_I)
    assert frozen.tokens_IL is None
    assert frozen.features_IF.dtype == np.float32
    with pytest.raises(ValueError, match="4 items, but 3 rows"):
        joint.to_catalog(np.eye(3), log_q_I, trained_I)


def test_cache_is_filled_once_and_keyed_by_all_that_matters(joint, tokenizer, tmp_path, monkeypatch):
    made = []

    def counted(*args):
        made.append(args)
        return encode(*args)

    monkeypatch.setattr(catalog, "encode", counted)
    first = token_table(joint.texts, tokenizer, 16, tmp_path)
    again = token_table(joint.texts, tokenizer, 16, tmp_path)
    np.testing.assert_array_equal(first.ids, encode(tokenizer, joint.texts, 16).ids)
    np.testing.assert_array_equal(first.ids, again.ids)
    assert isinstance(again.ids, np.memmap)
    assert len(made) == 1
    token_table(joint.texts, tokenizer, 4, tmp_path)
    token_table(joint.texts, train_tokenizer(joint.texts, "gpt2", 300), 16, tmp_path)
    token_table(["".join(joint.texts[:2]), *joint.texts[2:]], tokenizer, 16, tmp_path)
    assert len(made) == 4
    assert len(list((tmp_path / "tokens").iterdir())) == 4


def test_a_failed_encoding_leaves_no_cache(joint, tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(TokenTable, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(UserError, match=r"cannot write the cache .*tokens: disk full; set data\.cache_dir"):
        token_table(joint.texts, tokenizer, 16, tmp_path)
    assert not list((tmp_path / "tokens").iterdir())


@pytest.mark.parametrize("content", [lambda whole: whole[:-4], lambda _: b"", None], ids=["cut", "empty", "gone"])
@pytest.mark.parametrize("name", ["ids.npy", "offsets.npy"])
def test_a_damaged_table_is_made_again(joint, tokenizer, tmp_path, capsys, name, content):
    whole = token_table(joint.texts, tokenizer, 16, tmp_path)
    (folder,) = (tmp_path / "tokens").iterdir()
    path = folder / name
    path.write_bytes(content(path.read_bytes())) if content else path.unlink()
    again = token_table(joint.texts, tokenizer, 16, tmp_path)
    assert again.offsets[-1] == len(again.ids) == len(whole.ids)
    assert f"{folder}: damaged (" in capsys.readouterr().err
    assert list((tmp_path / "tokens").iterdir()) == [folder]


def test_tfidf_equals_a_plain_loop():
    texts = ["Red moon, red sea", "the MOON", "the sea and the moon", "", "unique"]
    words = [["red", "moon", "red", "sea"], ["the", "moon"], ["the", "sea", "and", "the", "moon"], [], ["unique"]]
    terms = ["moon", "sea", "the"]  # in 3, 2 and 2 texts; "red" is twice in one text only
    expected = np.zeros((5, 3))
    for row, text in enumerate(words):
        for column, term in enumerate(terms):
            df = sum(term in other for other in words)
            expected[row, column] = text.count(term) * (np.log((1 + 5) / (1 + df)) + 1)
        expected[row] /= np.linalg.norm(expected[row]) or 1
    vectors = tfidf(texts)
    assert vectors.dtype == np.float32
    by_spread = np.argsort(-np.asarray((vectors > 0).sum(axis=0)).ravel(), kind="stable")  # moon; then sea, the
    np.testing.assert_allclose(vectors.toarray()[:, by_spread], expected, rtol=1e-6)


def test_tfidf_of_scripts_without_blanks_likens_texts_that_share_two_characters():
    texts = ["三国演义", "三国志", "水浒传", "the moon", "moon 三国"]
    cosines = (tfidf(texts) @ tfidf(texts).T).toarray()
    assert (cosines[0] > 0).tolist() == [True, True, False, False, True]
    assert cosines[3, 4] > 0
    assert terms_of("Über_7 ひらがな 字 caf\u00e9") == ["über_7", "ひら", "らが", "がな", "字", "café"]


def test_tfidf_without_a_shared_word_is_refused():
    with pytest.raises(ValueError, match="no two texts share a word"):
        tfidf(["红楼梦", "水浒传", "moon", ""])


def test_tfidf_of_lists_of_terms_equals_a_plain_loop():
    lists = [["a b", "c", "c", "c"], ["c", "a b"], ["rare", "c"], []]
    fitted = fit_tfidf(lists)
    assert fitted.terms == ("a b", "c")
    idf = np.array([np.log(5 / 3) + 1, np.log(5 / 4) + 1])  # in two and three of four lists
    expected = np.array([[1, 1 + np.log(3)], [1, 1], [0, 1], [0, 0]]) * idf
    expected[:3] /= np.linalg.norm(expected[:3], axis=1, keepdims=True)
    np.testing.assert_allclose(fitted(lists).toarray(), expected, rtol=1e-6)
    added = fitted([["new", "a b"], ["new"]]).toarray()
    np.testing.assert_array_equal(added, [[1, 0], [0, 0]])


def test_lists_without_a_shared_term_have_no_tfidf_columns():
    fitted = fit_tfidf([["a"], ["b"]])
    assert fitted.terms == ()
    assert fitted([["a"]]).shape == (1, 0)


def test_memory_of_tfidf_grows_with_the_words_and_not_with_the_vocabulary():
    texts = [f"a{n} b{n // 2} c{n % 5000} all" for n in range(20_000)]
    vectors = tfidf(texts)
    assert vectors.shape[1] > 14_000  # dense, 1.1 GB
    assert vectors.nnz == 3 * 20_000
