"""`llmrec adapt`: candidates are trained once, one is chosen without labels of the target, the guard has the last word.

Two candidates are trained once, zero-shot, on films and a copy of them under another name.
"""

import dataclasses
import io
import json
import shutil
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from rich.console import Console

from llmrec_jax import cli, selection
from llmrec_jax import config as config_lib
from llmrec_jax.blend.answer import ANSWER
from llmrec_jax.data.corpus import load_corpus, of_source
from llmrec_jax.data.domains import demo
from llmrec_jax.errors import UserError
from llmrec_jax.inference import bundle
from llmrec_jax.parallel import make_layout
from llmrec_jax.train import candidate, merge, merging, portfolio, reveal
from llmrec_jax.train.evaluation import selected_params
from llmrec_jax.train.evidence import UNTRAINED, Gathered, _probe, gather, merged, without_labels
from llmrec_jax.train.experiment import assemble
from llmrec_jax.train.interrupts import Interrupts
from llmrec_jax.train.points import candidates
from llmrec_jax.train.prepared import prepare
from tests.train.tiny import initial_state

CONFIG = """
import dataclasses
from pathlib import Path
from tests.train.tiny import tiny_config

def config():
    sources = "demo:films", "{cinema}"
    tiny = tiny_config(Path("{cache}"), sources=sources, target_fraction=0.0, unlabelled_items=16)
    return dataclasses.replace(
        tiny,
        encoder=dataclasses.replace(tiny.encoder, num_layers=1),
        model=dataclasses.replace(tiny.model, item_features="text", user_tower="mean"),
        adapt=dataclasses.replace(tiny.adapt, level="item"),
        answer=dataclasses.replace(tiny.answer, model_weight=0.5),
        train=dataclasses.replace(tiny.train, steps=4, checkpoint_every=2),
    )
"""


NAMES = ["none", "none@average", "none@wise:0.5", "coral:10", "coral:10@2"]


@pytest.fixture(scope="module")
def adapted(tmp_path_factory):
    """The command, run without and then with `--reveal`; with its configuration, folder and both outputs."""
    folder = tmp_path_factory.mktemp("adapt")
    shutil.copytree(demo.write("films", folder / "cache"), folder / "cinema")
    (folder / "two.py").write_text(CONFIG.format(cinema=folder / "cinema", cache=folder / "cache"))
    arguments = ["adapt", str(folder / "two.py"), "--workdir", str(folder / "run")]
    arguments += ["--candidates", "coral:10", "coral:10@2", "none@average", "none@wise:0.5"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llmrec_jax.data.batches.texts.GROUPS", 1)  # one group of texts is quick to compile
        printed = [call(*arguments, "--json")]
        choice = (folder / "run" / "choice.json").read_bytes()
        patch.setattr("llmrec_jax.train.candidate.train_and_evaluate", None)  # finished candidates are not trained
        printed.append(call(*arguments, "--json", "--reveal"))
        assert (folder / "run" / "choice.json").read_bytes() == choice
        table = call(*arguments)
        config = config_lib.load(folder / "two.py")
        yield SimpleNamespace(
            config=config,
            data=prepare(config),
            workdir=folder / "run",
            hidden=json.loads(printed[0], parse_constant=pytest.fail),
            revealed=json.loads(printed[1], parse_constant=pytest.fail),
            choice=json.loads(choice),
            table=table,
        )


def call(*arguments):
    """The standard output of a command that succeeds."""
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.stdout", out)
        assert cli.main(list(arguments)) == 0
    return out.getvalue()


def test_the_object_is_complete_and_has_no_test_figure_unless_revealed(adapted):
    facts = adapted.hidden
    assert list(facts) == ["chosen", "validator", "arm", "guard", "candidates", "arms", "regret", "spearman"]
    assert [found["name"] for found in facts["candidates"]] == NAMES
    assert facts["validator"] == "left_out_source"
    assert (facts["regret"], facts["spearman"]) == (None, {})
    assert not any(found["test"] for found in facts["candidates"])
    assert not any(facts["arms"].values())
    # Zero-shot, there are no user vectors of the target.
    of_users = {"iwv", "dev", "devn", "class_ami", "mmd", "a_distance"}
    for found in adapted.choice["candidates"]:
        assert set(found["scores"]) == selection.VALIDATORS.keys() - of_users
        assert set(found["left_out"]) == of_users
    assert adapted.choice["decision"]["comparisons"][0]["evidence"] in ("films", "cinema")
    assert not (adapted.workdir / "candidates" / "none" / "report.json").exists()


def test_the_test_figures_judge_the_choice_and_do_not_change_it(adapted):
    hidden, facts = adapted.hidden, adapted.revealed
    for name in ("chosen", "validator", "arm", "guard"):
        assert facts[name] == hidden[name] == adapted.choice[name]
    test = {found["name"]: found["test"] for found in facts["candidates"]}
    figures = {name: found["ndcg@10"] for name, found in test.items()}
    assert facts["regret"] == max(figures.values()) - figures[facts["chosen"]]
    assert list(facts["spearman"]) == list(facts["candidates"][0]["scores"])
    assert facts == json.loads((adapted.workdir / "revealed.json").read_text())
    answer = test["coral:10"]["answer"]
    assert answer["gain"] == pytest.approx(answer["ndcg@10"] - test["coral:10"]["untrained"]["ndcg@10"])
    assert answer["interval_95"][0] <= answer["gain"] <= answer["interval_95"][1]
    assert facts["arms"]["text"] == test["none"]["untrained"]
    assert facts["arms"]["none"] == test["none"]["answer"] != test["none"]["untrained"]
    assert all(found["untrained"] == test["none"]["untrained"] for found in test.values())


def test_test_figures_of_another_choice_are_deleted(tmp_path):
    outcome = portfolio.choose({"none": shown(), "coral:1": shown(0.3)})
    for chosen, is_kept in ((outcome, False), (outcome, True), (outcome._replace(chosen="none"), False)):
        (tmp_path / "revealed.json").touch()
        portfolio._write_choice(tmp_path, chosen)
        assert (tmp_path / "revealed.json").exists() == is_kept


def test_the_tables_have_every_candidate_and_validator_the_choice_and_the_reasons_of_the_guard(adapted):
    rows = [line.split("│")[1].strip() for line in adapted.table.splitlines() if line.startswith("│")]
    assert rows == [*NAMES, *adapted.choice["candidates"][0]["scores"]]
    assert f"chosen: {adapted.choice['chosen']}, by left_out_source" in adapted.table
    assert f"guard: {adapted.choice['guard']}" in adapted.table


def test_the_bundle_is_that_of_the_arm(adapted):
    arm = adapted.choice["arm"]
    run = portfolio.folder_of(adapted.workdir, "none" if arm == "text" else arm)
    weights = [bundle.load(folder).parts.weights for folder in (run, adapted.workdir)]
    assert weights[0]["model"] == 0.5
    assert weights[1] == (weights[0] | {"model": 0.0} if arm == "text" else weights[0])


@pytest.fixture(scope="module")
def none(adapted):
    """The run without adaptation, its candidates, and the mesh."""
    runs, points = candidates(adapted.config, ["@average", "@wise:0.5"])
    experiment = assemble(adapted.data, runs["none"])
    return experiment, {point.name: point for point in points}, make_layout(experiment.config.mesh).mesh


def test_the_selection_cannot_read_a_label_of_the_target(adapted, none):
    """Every event of the target is another one; the evidence of every kind of candidate is the same."""
    experiment, points, mesh = none
    corpus = experiment.corpus
    split = corpus.splits[-1]._replace(items_E=np.random.default_rng(0).permutation(corpus.splits[-1].items_E))
    other = dataclasses.replace(corpus, splits=(*corpus.splits[:-1], split))
    assert not np.array_equal(other.case(2, "test").target_N, corpus.case(2, "test").target_N)
    scores = {found["name"]: found["scores"] for found in adapted.choice["candidates"]}
    for name, point in points.items():
        params = candidate.params_of(point, adapted.workdir / "candidates" / "none", experiment, mesh)
        found = gather(dataclasses.replace(experiment, corpus=other), params, mesh)
        stored = candidate._load(portfolio.folder_of(adapted.workdir, name) / candidate.FILE).evidence
        for field in dataclasses.fields(found):
            values = getattr(found, field.name), getattr(stored, field.name)
            np.testing.assert_array_equal(*values, err_msg=f"{name}, {field.name}")
        assert selection.scores(found).values == scores[name]


def test_candidates_of_a_run_are_means_of_its_checkpoints_and_interpolations_with_its_start(adapted, none):
    experiment, points, mesh = none
    folder = adapted.workdir / "candidates" / "none"
    start = initial_state(experiment).params
    two, four, selected = (jax.device_get(selected_params(folder, experiment, mesh, step)) for step in (2, 4, None))

    def check(name, expected):
        found = jax.device_get(candidate.params_of(points[name], folder, experiment, mesh))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, expected)

    check("none", selected)
    check("none@average", jax.tree.map(lambda a, b: (a + b) / 2, two, four))
    check("none@wise:0.5", jax.tree.map(lambda a, b: (a + b) / 2, start, selected))
    differs = jax.tree.map(lambda a, b: bool(np.any(np.abs(a - b) > 1e-4)), start, selected)
    assert any(jax.tree.leaves(differs))


def test_the_bundle_of_a_candidate_that_is_not_a_run_can_be_written(adapted, none, tmp_path):
    experiment, points, mesh = none
    folder, point = adapted.workdir / "candidates" / "none", points["none@wise:0.5"]
    candidate.export(point, folder, tmp_path, experiment.config, adapted.data)
    expected = candidate.params_of(point, folder, experiment, mesh)["user_tower"]["decay"]
    found = bundle.load(tmp_path)
    np.testing.assert_allclose(found.arrays["user_tower.decay"], expected, rtol=1e-6)
    assert found.parts.weights["model"] == 0.5


@pytest.fixture(scope="module")
def merged_run(adapted, tmp_path_factory):
    """The candidate `merge` of a run that trains on both sources: its experiment, folder, point, and what it shows."""
    folder, base = (
        tmp_path_factory.mktemp("merge"),
        config_lib.changed(adapted.config, {"train.selection": "last_step"}),
    )
    runs, points = candidates(base, ["merge"])
    arguments = runs["merge"], folder, {folder: points[-1]}, adapted.data, Console(quiet=True), Interrupts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("llmrec_jax.data.batches.texts.GROUPS", 1)
        patch.setattr(merge, "STEPS", 3)
        found = candidate.run_candidates(*arguments)[0]
        patch.setattr(merge, "train", None)  # nothing is trained again
        assert selection.scores(candidate.run_candidates(*arguments)[0].evidence) == selection.scores(found.evidence)
    return assemble(adapted.data, runs["merge"]), folder, points[-1], found


def test_merge_adds_the_task_vectors_of_models_of_one_source_each(merged_run):
    experiment, folder, point, found = merged_run
    assert merge.sources_of(experiment.corpus) == ["films", "cinema"]
    mesh, models = make_layout(experiment.config.mesh).mesh, []
    for number, source in enumerate(("films", "cinema")):
        config = config_lib.changed(experiment.config, {"train.only_source": source})
        alone = assemble(experiment.data, config)
        assert [len(users) > 0 for users in alone.corpus.plan.users] == [number == 0, number == 1, False]
        assert alone.corpus.plan.batch_size == experiment.corpus.plan.batch_size
        models.append(jax.device_get(selected_params(folder / "only" / source, alone, mesh)))
    weights = json.loads((folder / "weights.json").read_text())["weights"]
    assert all(0.2 < weight < 0.5 for weight in weights.values())  # three steps from .2 towards larger ones
    expected = merging.add_task_vectors(initial_state(experiment).params, models, np.array([*weights.values()]))
    params = candidate.params_of(point, folder, experiment, mesh)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), jax.device_get(params), expected)
    assert {"bnm", "source_risk", "text_agreement"} <= selection.scores(found.evidence).values.keys()


def test_merge_needs_two_sources_that_are_trained_on(adapted):
    with pytest.raises(UserError, match=r"candidate merge: (films|cinema) is the only source that is trained on"):
        merge.check(adapted.data.corpus)
    few_shot = config_lib.changed(adapted.config, {"data.target_fraction": 0.5})
    with pytest.raises(UserError, match=r"data\.target_fraction=0"):
        merge.check(load_corpus(few_shot.data, 16, seed=0, selection="auto"))
    with pytest.raises(UserError, match=r"train\.only_source=books: must be a source that is trained on"):
        of_source(adapted.data.corpus, "books", adapted.config.data)


def test_a_checkpoint_that_the_run_did_not_keep_is_named(adapted, none):
    experiment, _, mesh = none
    with pytest.raises(UserError, match="candidates/none has no intact checkpoint of step 3: it was not finished"):
        selected_params(adapted.workdir / "candidates" / "none", experiment, mesh, 3)


@pytest.mark.parametrize("fraction", [0.3, 1.0])
def test_what_the_selection_reads_has_the_training_events_of_the_kept_users_only(adapted, fraction):
    data = dataclasses.replace(adapted.config.data, sources=("demo:films",), target_fraction=fraction)
    corpus = load_corpus(data, 16, seed=0, selection="auto")
    seen, split = without_labels(corpus).splits[-1], corpus.splits[-1]
    assert (seen.valid == -1).all()
    assert (seen.test == -1).all()
    for user, kept in enumerate(corpus.protocol.kept):
        expected = split.items_E[split.offsets[user] : split.train_end[user]] if kept else []
        np.testing.assert_array_equal(seen.items_E[seen.offsets[user] : seen.train_end[user]], expected)
    assert len(seen.items_E) == seen.offsets[-1]
    assert not len(without_labels(corpus).domains[-1].items_E)
    histories, probe_K = _probe(without_labels(corpus))
    lengths = split.train_end - split.offsets[:-1]
    assert [len(history) for history in histories] == list(lengths[corpus.protocol.kept & (lengths > 0)])
    assert len(probe_K) == 225


def test_zero_shot_the_probe_has_none_of_the_items_that_stand_for_histories(adapted):
    histories, probe_K = _probe(without_labels(adapted.data.corpus))
    assert sorted([*probe_K, *np.concatenate(list(histories))]) == list(range(450))


def shown(left_out=0.1, **judged):
    return Gathered(selection.Evidence(left_out_ndcg=left_out), judged, {})


def test_the_guard_replaces_the_text_by_what_is_significantly_better_only(monkeypatch):
    monkeypatch.setattr("llmrec_jax.evaluate.verdict.RESAMPLES", 1000)
    rng = np.random.default_rng(0)
    text_N = rng.random(400) * 0.2
    level, better, worse = ({UNTRAINED: text_N, ANSWER: text_N + gain * rng.random(400)} for gain in (0, 0.1, -0.1))
    none = shown(films=level)
    assert portfolio.choose({"none": none, "coral:1": shown(0.3, films=better)}).arm == "coral:1"
    bad = portfolio.choose({"none": none, "coral:1": shown(0.3, films=worse)})
    assert (bad.chosen, bad.arm, bad.arms) == ("coral:1", "text", ("text", "none", "coral:1"))
    assert "Without the guard, coral:1 would be chosen" in bad.guard
    alone = portfolio.choose({"none": none, "coral:1": shown(0.3, films=worse), "target": shown(films=better)})
    assert (alone.chosen, alone.arm) == ("coral:1", "target")
    assert "target" not in alone.scores
    # Of several sources, the worst decides.
    both = merged([shown(0.3, films=better), shown(0.1, music=worse)])
    assert both.evidence.left_out_ndcg == 0.2
    two = portfolio.choose({"none": merged([none, shown(music=level)]), "coral:1": both})
    assert (two.chosen, two.arm) == ("coral:1", "text")
    assert "on music, the worst of 2 sets" in two.guard


def test_with_users_of_the_target_these_choose_and_judge(monkeypatch):
    monkeypatch.setattr("llmrec_jax.evaluate.verdict.RESAMPLES", 1000)
    rng = np.random.default_rng(0)
    text_N = rng.random(400) * 0.2
    gains = {"none": 0.1, "coral:1": 0.3, "dann:1": -0.1, "target": 0.2}
    runs = {name: shown(None, books={UNTRAINED: text_N, ANSWER: text_N + gain}) for name, gain in gains.items()}
    outcome = portfolio.choose(runs)
    assert (outcome.chosen, outcome.validator, outcome.arm) == ("coral:1", "target_users", "coral:1")
    assert outcome.scores["none"]["target_users"] == pytest.approx(text_N.mean() + 0.1)
    assert "target" not in outcome.scores
    # None, two candidates and the target alone: each is a try.
    assert outcome.decision.confidence == 1 - 0.05 / 4
    assert portfolio.choose({"none": shown()}).validator == "left_out_source"


def test_without_evidence_the_text_is_kept():
    outcome = portfolio.choose({"none": shown(), "coral:1": shown(0.3)})
    assert (outcome.chosen, outcome.arm, outcome.decision) == ("coral:1", "text", None)
    assert "a zero-shot run needs a second source" in outcome.guard


def test_each_source_can_be_left_out(adapted):
    runs = candidate.leaving_out(adapted.config, ["demo:films", "cinema"])
    assert {name: run.train.selection for name, run in runs.items()} == {"films": "films", "cinema": "cinema"}
    left_out = [adapted.data.corpus_of(run).protocol.left_out for run in runs.values()]
    assert left_out == [0, 1]


def test_test_events_are_ranked_after_the_choice_only(tmp_path):
    with pytest.raises(UserError, match=r"no choice\.json"):
        reveal.reveal({}, tmp_path, None, Console(quiet=True))


def test_the_target_alone_is_an_arm_where_it_is_trained_on(adapted):
    assert candidate.target_alone(adapted.config) is None
    few_shot = config_lib.changed(adapted.config, {"data.target_fraction": 0.5, "train.selection": "films"})
    alone = candidate.target_alone(few_shot)
    config_lib.validate(alone)
    assert (alone.data.sources, alone.adapt.method, alone.train.selection) == ((), "none", "auto")


def test_what_cannot_be_adapted_is_refused_before_anything_is_read(adapted, capsys):
    file = str(adapted.workdir.parent / "two.py")
    for arguments, message in (
        ((file, "--validator", "bmn"), "--validator bmn: must be one of target_users, left_out_source"),
        ((file, "--candidates", "coral:1", "coral:1"), "candidate 'coral:1' is given twice"),
        ((file, "--left-out", "books"), "--left-out books: must be a source (films, cinema)"),
        ((file, "--left-out", "films", "films"), "--left-out films films: a source is given twice"),
        ((file, "--left-out", "films", "--data.target-fraction", "1"), "--left-out is for runs without users of the"),
        ((file, "--data.unlabelled-items", "0"), "candidate 'coral:0.3': data.target_fraction=0 puts no target item"),
        ((file, "--train.objective", "language_model"), "adapt trains recommenders in one stage"),
        ((file, "--workdir", str(adapted.workdir / "candidates" / "none")), "holds a run of llmrec train"),
        ((), "usage: llmrec adapt NAME"),
    ):
        assert cli.main(["adapt", *arguments]) == 2
        assert message in capsys.readouterr().err
