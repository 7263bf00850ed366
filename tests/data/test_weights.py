"""Event weights from interactions.csv to the batch: read, kept with their events, and used for targets only.

In `farm`, the weight of an event is a function of its user and item, so that a test can tell whether they still match.
"""

import json
import shutil

import numpy as np
import pytest

from llmrec_jax.baselines.counting import popularity
from llmrec_jax.config import DataConfig
from llmrec_jax.data import corpus as corpus_lib
from llmrec_jax.data.batches.batch import make_batch
from llmrec_jax.data.batches.log_q import log_q
from llmrec_jax.data.domains import domain as domains
from llmrec_jax.data.domains import schema
from llmrec_jax.train.summary import data_summary
from tests.data.plans import ids_of
from tests.data.shops import ITEMS, error_of, folder_of, problems

NUM_ITEMS, NUM_USERS = 20, 40
HEADER = b"user_id,item_id,timestamp,weight"


def read(tmp_path, rows, **settings):
    """The weights of the raw domain, and the notes."""
    raw = schema.read(folder_of(tmp_path, ITEMS, rows, **settings), "fail")
    return raw.events.weights_E, raw.findings.notes


def weight_of(user, item):
    return (1 + user + NUM_USERS * item) % 7  # 0 for one in seven


def farm(path, weight=weight_of, seed=0, ratings=lambda user, item: 3, length=12):
    """A shop of histories in random order; None as weight leaves out the column."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(NUM_USERS):
        for place, item in enumerate(rng.permutation(NUM_ITEMS)[:length]):
            row = [f"u{user}", f"i{item}", ratings(user, item), place * NUM_USERS + user]
            row += [weight(user, item)] if weight else []
            rows.append(",".join(map(str, row)))
    items = [json.dumps({"item_id": f"i{n}", "title": f"Item {n}"}).encode() for n in range(NUM_ITEMS)]
    rng.shuffle(rows)
    header = "user_id,item_id,rating,timestamp" + (",weight" if weight else "")
    return folder_of(path, items, [header.encode(), *(row.encode() for row in rows)])


def load(tmp_path, target, *sources, selection="auto", **data):
    config = DataConfig(
        sources=tuple(map(str, sources)), target=str(target), max_history=6, cache_dir=str(tmp_path / "cache"), **data
    )
    return corpus_lib.load_corpus(config, batch_size=8, seed=0, selection=selection)


def expected_weights(domain, items_E):
    users_E = np.repeat([int(user_id[1:]) for user_id in domain.user_ids], np.diff(domain.offsets))
    return weight_of(users_E, np.array([int(item_id[1:]) for item_id in domain.item_ids])[items_E])


def test_weights_are_read_like_other_optional_columns(tmp_path):
    weights_E, notes = read(tmp_path, [b"user_id;item_id;Weight ", b"u;a;0,5", b"u;b;3"])
    assert weights_E.tolist() == [0.5, 3]
    assert notes[-2:] == [
        "interactions.csv: columns recognised: 'Weight ' as weight",
        "interactions.csv: 1 weights have a decimal comma: read as such",
    ]
    declared = [b"user_id,item_id,dwell,weight", b"u,a,7,x"]
    weights_E, notes = read(tmp_path, declared, columns={"weight": "dwell"})
    assert (weights_E.tolist(), notes[-1]) == ([7], "interactions.csv: columns that are not read: weight")
    assert read(tmp_path, declared, columns={"weight": None})[0] is None
    assert read(tmp_path, [HEADER, b"u,a,1,", b"u,b,2, "])[0] is None  # an empty column


@pytest.mark.parametrize("name", ["weights", "event_weight", "wieght"])
def test_a_name_like_weight_is_asked_about(tmp_path, name):
    message = error_of(folder_of(tmp_path, ITEMS, [f"user_id,item_id,{name}".encode(), b"u,a,1"]))
    assert f"the header has no weight, but '{name}' may be meant" in message
    assert f'{{"columns": {{"weight": "{name}"}}}}; not meant: {{"columns": {{"weight": null}}}}' in message


def test_other_names_are_not(tmp_path):
    assert problems(folder_of(tmp_path, ITEMS, [b"user_id,item_id,height,item_weight_kg", b"u,a,1,2"])) == []


@pytest.mark.parametrize(
    ("cell", "reason", "remedy"),
    [
        (b"SECRET", "weight is not a number", 'say so in domain.json: {"columns": {"weight": null}}'),
        (b"nan", "weight is not a finite number", '{"columns": {"weight": null}}'),
        (b"inf", "weight is not a finite number", '{"columns": {"weight": null}}'),
        (b"1e31", "weight is not 0 and not between 1e-30 and 1e+30", '{"columns": {"weight": null}}'),
        (b"1e-31", "weight is not 0 and not between 1e-30 and 1e+30", '{"columns": {"weight": null}}'),
        (b"-1", "weight is negative", "give an interaction that training is not to predict the weight 0"),
        (
            b"",
            "weight is empty, but other rows have one",
            "fill it in (0: training does not predict it)",
        ),
    ],
)
def test_a_bad_weight_is_one_message_with_count_places_and_remedy(tmp_path, cell, reason, remedy):
    rows = [HEADER, b"u,a,1,2", b"u,b,2," + cell, b"v,a,3,0", b"v,b,4," + cell, b"w,a,5,1"]
    folder = folder_of(tmp_path, ITEMS, rows)
    assert [(record.line, record.reason) for record in problems(folder)] == [(3, reason), (5, reason)]
    line = error_of(folder).splitlines()[1].strip()
    assert line.startswith(f"interactions.csv:3: {reason} (2 times; also interactions.csv:5); ")
    assert remedy in line
    assert "SECRET" not in line
    assert schema.read(folder, "skip").events.weights_E.tolist() == [2, 0, 1]


def test_a_row_without_time_and_weight_is_one_bad_record(tmp_path):
    folder = folder_of(tmp_path, ITEMS, [HEADER, b"u,a,1,2", b"u,b,,"])
    assert [record.reason for record in problems(folder)] == ["timestamp is empty, but other rows have one"]


def open_rows(tmp_path, rows, **data):
    folder = folder_of(tmp_path / "shop", ITEMS, [HEADER, *rows])
    return domains.load_domain(str(folder), DataConfig(cache_dir=str(tmp_path / "cache"), **data))


def test_a_repeat_keeps_its_first_place_and_the_largest_weight(tmp_path):
    domain = open_rows(tmp_path, [b"u,a,1,1", b"u,a,2,5", b"u,b,3,2", b"u,b,4,0", b"v,b,5,3"])
    assert (domain.items_E.tolist(), domain.timestamps_E.tolist()) == ([0, 1, 1], [1, 3, 5])
    assert (domain.weights_E.tolist(), domain.first_weights_E.tolist()) == ([5, 2, 3], [1, 2, 3])
    assert domain.report["notes"][1:] == [
        "2 repeats of an item by the same user dropped: the first is kept, with the largest weight",
        "interactions have weights from 2 to 5",
    ]
    assert isinstance(domain.weights_E, np.memmap)


def test_the_hash_follows_the_weights_and_their_declaration(tmp_path):
    rows = [b"u,a,1,1", b"u,b,2,0"]
    first = open_rows(tmp_path, rows)
    assert first.report["notes"][1:] == [
        "interactions have weights from 0 to 1; training does not predict the 1 of 2 with weight 0"
    ]
    assert open_rows(tmp_path, [rows[0], b"u,b,2,3"]).hash != first.hash
    folder_of(tmp_path / "shop", ITEMS, [HEADER, *rows], columns={"weight": None})
    ignored = domains.load_domain(str(tmp_path / "shop"), DataConfig(cache_dir=str(tmp_path / "cache")))
    assert ignored.hash != first.hash
    assert ignored.weights_E is ignored.first_weights_E is None
    assert not list(ignored.folder.glob("*weight*"))


def test_a_preparation_that_lost_its_weights_is_made_again(tmp_path, capsys):
    domain = open_rows(tmp_path, [b"u,a,1,1", b"u,b,2,0"])
    (domain.folder / "weights_E.npy").unlink()
    assert open_rows(tmp_path, [b"u,a,1,1", b"u,b,2,0"]).weights_E.tolist() == [1, 0]
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize("method", ["leave_one_out", "temporal", "random"])
@pytest.mark.parametrize("min_rating", [None, 3.0])
def test_weights_stay_with_their_events(tmp_path, method, min_rating):
    folder = farm(tmp_path / "shop", ratings=lambda user, item: 1 + (user + item) % 5)
    corpus = load(tmp_path, folder, split=method, min_rating=min_rating, target_fraction=0.5)
    (domain,), (split,) = corpus.domains, corpus.splits
    assert len(domain.items_E) == NUM_USERS * 12 if min_rating is None else 100 < len(domain.items_E) < NUM_USERS * 12
    np.testing.assert_array_equal(domain.weights_E, expected_weights(domain, domain.items_E))
    np.testing.assert_array_equal(split.weights_E, expected_weights(domain, split.items_E))
    weights = []
    for step in range(5):
        batch = make_batch(corpus.plan, step)
        (predictions,) = batch.predictions
        real_P = predictions.mask_P
        targets = ids_of(batch)[predictions.target_P[real_P]]
        users = user_of_step(corpus, batch)[predictions.step_P[real_P]]
        items = np.array([int(domain.item_ids[target][1:]) for target in targets])
        np.testing.assert_array_equal(predictions.weight_P[real_P], weight_of(users, items))
        assert not predictions.weight_P[~real_P].any()
        assert predictions.weight_P.dtype == np.float32
        weights += predictions.weight_P[real_P].tolist()
    assert set(weights) == {1, 2, 3, 4, 5, 6}  # never 0


def user_of_step(corpus, batch):
    """The number in the user id, for each step of the histories: the user with these items."""
    (domain,), (split,) = corpus.domains, corpus.splits
    events = {}
    for user, (start, end) in enumerate(zip(split.offsets[:-1], split.train_end, strict=True)):
        for begin in range(start, end):
            events[tuple(split.items_E[begin : min(end, begin + 6)])] = int(domain.user_ids[user][1:])
    segments = batch.segment_RS.reshape(-1)
    users = np.full(len(segments), -1)
    for segment in range(1, segments.max() + 1):
        history = ids_of(batch)[batch.history_RS.reshape(-1)[segments == segment]]
        found = [user for items, user in events.items() if items[: len(history)] == tuple(history)]
        assert len(set(found)) == 1
        users[segments == segment] = found[0]
    return users


def test_weights_change_nothing_but_the_weights_and_the_targets(tmp_path):
    """Not the histories and items of a batch, and nothing of the evaluation."""
    plain, ones, mixed = (
        load(tmp_path, farm(tmp_path / name, weight))
        for name, weight in (("plain", None), ("ones", lambda user, item: 1), ("mixed", weight_of))
    )
    for step in range(3):
        left, right, other = (make_batch(corpus.plan, step) for corpus in (plain, ones, mixed))
        assert all(part.weight_P is None for part in left.predictions)
        for part in right.predictions:
            np.testing.assert_array_equal(part.weight_P, part.mask_P)
        np.testing.assert_equal(left, without_weights(right))
        np.testing.assert_equal(left._replace(predictions=()), other._replace(predictions=()))
        is_target = np.isin(left.predictions[0].step_P[left.predictions[0].mask_P], other.predictions[0].step_P)
        assert 0 < is_target.mean() < 1
    for name in ("valid", "test"):
        left, right = plain.case(0, name), mixed.case(0, name)
        np.testing.assert_array_equal(left.target_N, right.target_N)
        np.testing.assert_equal(list(left.histories), list(right.histories))
    np.testing.assert_array_equal(log_q(plain.plan), log_q(mixed.plan))
    assert "interactions have weights from 0 to 6; " in data_summary(mixed)
    assert "weight" not in data_summary(plain)


def without_weights(batch):
    return batch._replace(predictions=tuple(part._replace(weight_P=None) for part in batch.predictions))


def test_an_event_of_weight_0_is_history_but_no_target(tmp_path):
    corpus = load(tmp_path, farm(tmp_path / "shop", lambda user, item: 0 if item == 7 else 2.5))
    number = corpus.domains[0].item_ids.index("i7")
    in_history = 0
    for step in range(10):
        batch = make_batch(corpus.plan, step)
        (part,) = batch.predictions
        assert number not in ids_of(batch)[part.target_P[part.mask_P]]
        in_history += (ids_of(batch)[batch.history_RS[batch.segment_RS > 0]] == number).sum()
    assert in_history > 10


def test_a_temporal_split_takes_no_weight_from_after_its_cut(tmp_path):
    folder = farm(tmp_path / "shop", lambda user, item: 1, length=NUM_ITEMS)
    with (folder / "interactions.csv").open("a") as file:
        file.writelines(f"\nu{user},i3,3,{10_000 + user},9" for user in range(NUM_USERS))  # repeats
    late = {method: load(tmp_path, folder, split=method) for method in ("temporal", "leave_one_out")}
    trained = {
        method: corpus.splits[0].weights_E[corpus.splits[0].training_events(np.ones(NUM_USERS, bool))]
        for method, corpus in late.items()
    }
    assert set(trained["temporal"].tolist()) == {1}
    assert 9 in trained["leave_one_out"]


def test_domains_without_weights_count_1_beside_one_that_has_them(tmp_path):
    corpus = load(tmp_path, farm(tmp_path / "books", None), farm(tmp_path / "films", seed=1))
    films, books = make_batch(corpus.plan, 0).predictions
    assert set(films.weight_P[films.mask_P].tolist()) > {1, 2}
    np.testing.assert_array_equal(books.weight_P, books.mask_P)
    zero_shot = load(tmp_path, farm(tmp_path / "games"), tmp_path / "books", target_fraction=0)
    assert not zero_shot.plan.has_weights  # only the target has weights, and no batch holds it
    assert all(part.weight_P is None for part in make_batch(zero_shot.plan, 0).predictions)


def test_nothing_to_predict_is_refused_with_the_name_of_the_domain(tmp_path):
    def nothing(user, item):
        return 0

    zeros, sound = farm(tmp_path / "zeros", nothing), farm(tmp_path / "sound")
    reason = "all training events with a history have weight 0"
    with pytest.raises(ValueError, match=f"in the target 'zeros': {reason}: correct the weights"):
        load(tmp_path, zeros)
    with pytest.raises(ValueError, match=f"in the source 'zeros': {reason}"):
        load(tmp_path, sound, zeros)
    assert load(tmp_path, zeros, sound, target_fraction=0).protocol.regime == "zero-shot"  # a test needs no weights
    kept = load(tmp_path, sound, target_fraction=0.1).protocol.kept
    chosen = {int(user[1:]) for user, is_kept in zip(load_ids(tmp_path, sound), kept, strict=True) if is_kept}
    shutil.rmtree(sound)
    farm(sound, lambda user, item: 0 if user in chosen else 1)
    with pytest.raises(ValueError, match=f"in the target 'sound': {reason}"):
        load(tmp_path, sound, target_fraction=0.1)


def load_ids(tmp_path, folder):
    return domains.load_domain(str(folder), DataConfig(cache_dir=str(tmp_path / "cache"))).user_ids


def test_users_with_nothing_to_predict_are_in_no_batch(tmp_path):
    corpus = load(tmp_path, farm(tmp_path / "shop", lambda user, item: user % 2))
    trained = {int(corpus.domains[0].user_ids[user][1:]) for user in corpus.plan.users[0]}
    assert trained == set(range(1, NUM_USERS, 2))
    assert corpus.facts["domains"]["shop"]["trained_users"] == NUM_USERS // 2


def test_a_first_event_is_no_target_whatever_its_weight(tmp_path):
    split = load(tmp_path, farm(tmp_path / "shop")).splits[0]
    weights_E = np.zeros(len(split.items_E), np.float32)
    weights_E[split.offsets[:-1]] = 1
    assert not split._replace(weights_E=weights_E).trainable().any()
    weights_E[split.offsets[3] + 1] = 1
    weights_E[split.test[5]] = 1
    assert np.flatnonzero(split._replace(weights_E=weights_E).trainable()).tolist() == [3]


def test_popularity_sums_the_weights(tmp_path):
    corpus = load(tmp_path, farm(tmp_path / "shop"), target_fraction=0.5)
    (domain,), (split,) = corpus.domains, corpus.splits
    expected = np.zeros(NUM_ITEMS)
    for user in np.flatnonzero(corpus.protocol.kept):
        for event in range(split.offsets[user], split.train_end[user]):
            item = split.items_E[event]
            expected[item] += weight_of(int(domain.user_ids[user][1:]), int(domain.item_ids[item][1:]))
    np.testing.assert_array_equal(corpus.train_counts(0), expected)
    np.testing.assert_array_equal(corpus.popularity(), expected)
    np.testing.assert_array_equal(popularity(corpus.train_counts(0)).items_ID[:, 0], expected)
    assert load(tmp_path, farm(tmp_path / "plain", None)).train_counts(0).dtype == np.int64
