"""Which run a work folder belongs to, and which fields may change when it resumes."""

import dataclasses
import json

import pytest

from llmrec_jax.config import Config, flatten
from llmrec_jax.train.workdir import MAY_DIFFER, MAY_DIFFER_WITHOUT_DROPOUT, check, claim, read_config


def changed(config, **fields):
    """`config` with fields replaced; `section__field` names one."""
    for name, value in fields.items():
        section, field = name.split("__")
        part = dataclasses.replace(getattr(config, section), **{field: value})
        config = dataclasses.replace(config, **{section: part})
    return config


NO_DROPOUT = changed(Config(), model__dropout=0.0, encoder__dropout=0.0)
CONSTANT = changed(Config(), optim__schedule="constant")


def refused(workdir, config):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 -- the message is what is looked at
        check(workdir, config)
    return str(raised.value)


@pytest.mark.parametrize(
    ("before", "change"),
    [
        (Config(), {"train__eval_batch_size": 8, "train__checkpoint_every": 7, "encoder__remat": "full"}),
        (Config(), {"data__root": "elsewhere", "data__cache_dir": "there", "mesh__fsdp": 2, "loss__block_size": 64}),
        (NO_DROPOUT, {"encoder__chunk_size": 8, "mesh__mode": "pmap"}),
        (CONSTANT, {"train__steps": 1000}),
    ],
)
def test_a_run_goes_on_with_what_changes_no_number(tmp_path, before, change):
    claim(tmp_path, before)
    after = changed(before, **change)
    check(tmp_path, after)
    claim(tmp_path, after)
    assert read_config(tmp_path) == after


@pytest.mark.parametrize(
    ("before", "change"),
    [
        (Config(), {"encoder__chunk_size": 8}),  # each chunk draws its own dropout
        (Config(), {"train__steps": 1000}),  # the cosine ends elsewhere
        (CONSTANT, {"train__steps": 400}),
        (changed(CONSTANT, adapt__method="dann"), {"train__steps": 1000}),  # its weight grows to the end
        (Config(), {"train__eval_every": 7}),  # other steps to select from
        (Config(), {"optim__learning_rate": 0.5}),
    ],
)
def test_a_change_of_the_numbers_is_refused_with_the_difference(tmp_path, before, change):
    claim(tmp_path, before)
    (name, value), *_ = change.items()
    name = name.replace("__", ".")
    message = refused(tmp_path, changed(before, **change))
    old = flatten(dataclasses.asdict(before))[name]
    assert message.splitlines()[1:] == [f"  {name}: {old!r} there, {value!r} here"]
    assert "--fresh" in message.splitlines()[0]


def test_the_fields_that_may_differ_exist():
    assert {*MAY_DIFFER, *MAY_DIFFER_WITHOUT_DROPOUT} <= set(flatten(dataclasses.asdict(Config())))


@pytest.mark.parametrize("name", ["bundle", "metrics.jsonl", "report.json"])
def test_what_is_there_without_a_run_is_not_written_over(tmp_path, name):
    (tmp_path / name).mkdir()
    assert refused(tmp_path, Config()).startswith(f"{tmp_path} holds {name}, but no config.json, so it is not")


def test_files_of_other_programs_are_named(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert "config.json is not the configuration of a run" in refused(tmp_path, Config())
    with pytest.raises(
        ValueError, match=f"{tmp_path} is not the work folder of a run: not a configuration of this version"
    ):
        read_config(tmp_path)
    (tmp_path / "config.json").write_text("{")
    assert f"{tmp_path / 'config.json'}: not a readable JSON object" in refused(tmp_path, Config())


def test_a_bundle_is_not_a_run(tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "config.json").write_text(json.dumps({"dims": {}, "config": {}}))
    with pytest.raises(ValueError, match=rf"it is a bundle: give the work folder of its run, such as {tmp_path}$"):
        read_config(tmp_path / "bundle")


def test_a_run_from_before_a_field_existed_goes_on_with_its_default(tmp_path):
    claim(tmp_path, Config())
    values = json.loads((tmp_path / "config.json").read_text())
    del values["model"]["score"]
    (tmp_path / "config.json").write_text(json.dumps(values))
    check(tmp_path, Config())
    assert "model.score: 'cosine' there, 'dot' here" in refused(tmp_path, changed(Config(), model__score="dot"))
