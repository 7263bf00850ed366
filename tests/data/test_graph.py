"""kg.tsv: each bad line is reported, facts have an order, a hash holds some out, texts name the rest; batches."""

import gzip
import json

import numpy as np
import pytest

from llmrec_jax.cli import main
from llmrec_jax.config import DataConfig
from llmrec_jax.data.batches.triples import BLOCK, BLOCKS, NEGATIVES, joint_graph, sample
from llmrec_jax.data.domains import prepare, schema
from llmrec_jax.data.domains.domain import load_domain, open_domain
from llmrec_jax.data.domains.graph import held_out
from llmrec_jax.data.domains.records import item_text
from tests.data.shops import ITEMS, error_of, folder_of, problems

THREE = (*ITEMS, b'{"item_id": "c", "title": "Three", "category": "drama, war"}')


def graph_of(path, *lines, items=THREE, name="kg.tsv"):
    folder = folder_of(path, items)
    data = b"\n".join(lines)
    (folder / name).write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    return folder


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"z\tgenre\tdrama", "the head is not among the items"),
        (b"a\tgenre", "not three texts between tabs"),
        (b"a\tgenre\tdrama\tx", "not three texts between tabs"),
        (b"a\t\tdrama", "relation is empty"),
        (b"a\tgenre\t ", "tail is empty"),
        (b"a\tgenre\tdr\x00ama", "tail holds a NUL character"),
        (b"a\tgenre\tdr\xffama", "not UTF-8"),
        (b"a\tgenre\t" + b"x" * 1001, "tail is longer than 1000 characters"),
    ],
)
@pytest.mark.parametrize("name", ["kg.tsv", "kg.tsv.gz"])
def test_a_bad_line_is_reported_with_its_place(tmp_path, line, reason, name):
    folder = graph_of(tmp_path, b"a\tgenre\tdrama", line, b"b\tgenre\tdrama", name=name)
    (record,) = problems(folder)
    assert str(record) == f"{name}:2: {reason}"
    report = prepare.build(folder, "skip", min_rating=None).report
    assert report["triples"] == 2
    assert report["skipped"] == {f"{name}: {reason}": 1}


def test_a_header_is_recognised(tmp_path):
    error = error_of(graph_of(tmp_path, b"head_item_id\trelation\ttail", b"a\tgenre\tdrama"))
    assert "kg.tsv:1: this line is a header; kg.tsv has none; remove it" in error


def test_mostly_bad_lines_are_not_skipped(tmp_path):
    folder = graph_of(tmp_path, b"a\tgenre\tdrama", b"y\tgenre\tdrama", b"z\tgenre\tdrama")
    with pytest.raises(schema.DataError, match=r"more than half of kg.tsv \(2 of 3\)"):
        schema.read(folder, "skip")


def test_triples_of_a_bad_item_and_repeats_are_notes(tmp_path):
    items = (*ITEMS, b'{"item_id": "c", "title": ""}')
    folder = graph_of(tmp_path, b"a\tgenre\tdrama", b"c\tgenre\tdrama", b"", b"a\tgenre\t drama", items=items)
    raw = schema.read(folder, "skip")
    assert [record.file for record in raw.findings.bad] == ["items.jsonl"]
    assert raw.findings.notes[-2:] == [
        "kg.tsv: 1 repeated triples dropped",
        "kg.tsv: 1 triples of items whose own lines are bad are left out",
    ]
    assert (raw.num_triples, raw.items[0].facts) == (1, (("genre", "drama"),))


def test_facts_that_tell_most_come_first(tmp_path):
    lines = [b"a\tgenre\tdrama", b"a\tactor\tAnn &amp; Bo", b"a\tgenre\twar", b"b\tgenre\twar", b"b\tgenre\tdrama",
             b"c\tgenre\tdrama"]  # fmt: skip
    first = schema.read(graph_of(tmp_path, *lines), "fail").items[0]
    assert first.facts == (("genre", "war"), ("genre", "drama"), ("actor", "Ann & Bo"))  # none else has the actor


def test_the_graph_is_part_of_the_content(tmp_path):
    without = prepare.content_hash(folder_of(tmp_path, THREE), "fail", None)
    one = prepare.content_hash(graph_of(tmp_path, b"a\tgenre\tdrama"), "fail", None)
    assert len({without, one, prepare.content_hash(graph_of(tmp_path, b"a\tgenre\twar"), "fail", None)}) == 3


def test_validate_reads_the_graph(tmp_path, capsys):
    assert main(["validate", str(graph_of(tmp_path, b"a\tgenre\tdrama", b"b\tgenre\tdrama"))]) == 0
    assert "3 items, 1 interactions, 2 triples" in capsys.readouterr().out
    assert main(["validate", str(graph_of(tmp_path, b"z\tgenre\tdrama")), "--json"]) == 2
    (bad,) = json.loads(capsys.readouterr().out)["bad"]
    assert bad == {"file": "kg.tsv", "line": 1, "reason": "the head is not among the items"}


def test_the_text_names_facts_that_no_other_field_has():
    facts = (
        ("director", "Ann"),
        ("plot_keyword", "sea"),
        ("genre", "War"),
        ("plot_keyword", "boat"),
        ("genre", "war film"),
    )
    text = item_text("Title", "war, drama", None, "Long", facts=facts)
    assert text == "Title. war, drama. director: Ann. plot keyword: sea, boat. genre: war film. Long"
    assert item_text("Title", None, None, None, facts=facts[:1]) == "Title. director: Ann"
    assert item_text("Title", "Ann", None, None, facts=facts[:1]) == "Title. Ann"


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Two domains of 200 items with 5 facts each, in three relations."""
    root = tmp_path_factory.mktemp("graphs")
    rng = np.random.default_rng(0)
    for name in ("one", "two"):
        items = [json.dumps({"item_id": f"{name}{n}", "title": f"T{n}"}).encode() for n in range(200)]
        lines = [
            f"{name}{n}\trelation {rng.integers(3)}\t{rng.integers(12)}".encode() for n in range(200) for _ in range(5)
        ]
        rows = [b"user_id,item_id", *(f"u,{name}{n}".encode() for n in range(5))]
        (root / name).mkdir()
        folder = folder_of(root / name, items, rows, order="sequence")
        (folder / "kg.tsv").write_bytes(b"\n".join(lines))
    return [load_domain(str(root / name), DataConfig(cache_dir=str(root / "cache"))) for name in ("one", "two")]


def test_a_hash_holds_out_a_share_that_texts_do_not_name(large):
    domain = large[0]
    out = held_out(domain.item_ids, domain.facts, 0)
    assert 0.03 < np.concatenate(out).mean() < 0.07
    assert any((one != other).any() for one, other in zip(out, held_out(domain.item_ids, domain.facts, 1), strict=True))
    few = held_out(domain.item_ids[50:60], domain.facts[50:60], 0)  # a triple depends on itself alone
    assert not any((few_n & ~all_n).any() for few_n, all_n in zip(few, out[50:60], strict=True))
    texts = open_domain(domain.folder, graph_seed=0).texts
    for facts, is_out, text in zip(domain.facts, out, texts, strict=True):
        for (relation, tail), hidden in zip(facts, is_out, strict=True):
            named = dict(piece.split(": ", 1) for piece in text.split(". ")[1:]).get(relation, "").split(", ")
            assert (tail in named) != hidden


def test_a_tail_of_one_triple_is_not_held_out():
    facts = [(("relation", f"tail {n}"),) for n in range(200)]
    assert not np.concatenate(held_out([str(n) for n in range(200)], facts, 0)).any()


def test_domains_share_relations_and_tails(large):
    graph = joint_graph(large, seed=0)
    assert graph.relations == ("relation 0", "relation 1", "relation 2")
    assert len(graph) == sum(domain.report["triples"] for domain in large)
    assert len(graph.tails) == graph.starts[-1] == 36
    for j in (0, 700, len(graph) - 1):
        domain, item = divmod(int(graph.head_X[j]), 200)
        assert (graph.relations[graph.relation_X[j]], graph.tails[graph.tail_X[j]]) in large[domain].facts[item]
    assert (graph.starts[graph.relation_X] <= graph.tail_X).all()
    assert (graph.tail_X < graph.starts[graph.relation_X + 1]).all()
    assert len(graph.part(True)) + len(graph.part(False)) == len(graph)


def test_triples_of_a_step_are_a_function_of_seed_and_step(large):
    graph = joint_graph(large, seed=0).part(False)
    heads_N, triples = sample(graph, 0, 3, 8)
    again_N, same = sample(graph, 0, 3, 8)
    np.testing.assert_array_equal(heads_N, again_N)
    for array, other in zip(triples, same, strict=True):
        np.testing.assert_array_equal(array, other)
    assert (sample(graph, 0, 4, 8)[0] != heads_N).any()
    assert (sample(graph, 1, 3, 8)[0] != heads_N).any()


def test_negatives_are_of_the_relation_and_not_true(large):
    whole = joint_graph(large, seed=0)
    graph = whole.part(False)
    heads_N, triples = sample(graph, 0, 0, 8)
    assert triples.negative_NK.shape == (BLOCKS * BLOCK, NEGATIVES)
    assert graph.has(heads_N, triples.tail_N).all()
    assert not whole.part(True).has(heads_N, triples.tail_N).any()
    begin_N, end_N = graph.starts[triples.relation_N], graph.starts[triples.relation_N + 1]
    assert (triples.negative_NK >= begin_N[:, None]).all()
    assert (triples.negative_NK < end_N[:, None]).all()
    is_true_NK = graph.has(heads_N[:, None], triples.negative_NK)
    np.testing.assert_array_equal(triples.is_negative_NK, ~is_true_NK)
    assert is_true_NK.any()
    # A held-out triple may be sampled as a negative: leaving it out would tell that it is true.
    assert whole.part(True).has(heads_N[:, None], np.where(triples.is_negative_NK, triples.negative_NK, 0)).any()
    np.testing.assert_allclose(triples.log_q_N, np.log(NEGATIVES / (end_N - begin_N)), rtol=1e-6)


@pytest.mark.parametrize("multiple", [8, 24, 40])
def test_the_number_of_triples_divides_over_the_devices(large, multiple):
    heads_N, _ = sample(joint_graph(large, seed=0), 0, 0, multiple)
    assert len(heads_N) % multiple == 0
    assert BLOCKS * BLOCK <= len(heads_N) < BLOCKS * BLOCK + multiple


def test_the_probability_that_a_step_has_an_item(large):
    graph = joint_graph(large, seed=0).part(False)
    seen_I = np.mean([np.isin(np.arange(400), sample(graph, 0, step, 8)[0]) for step in range(300)], axis=0)
    np.testing.assert_allclose(seen_I.mean(), (1 - np.exp(graph.log_missing(400))).mean(), atol=0.01)
