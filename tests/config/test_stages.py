"""The stages of a configuration: what each is as a run, and what is refused."""

import dataclasses
from pathlib import Path

import pytest

from llmrec_jax.config import Config, DataConfig, Stage, changed, in_stages, validate

TEXTS = Stage("texts", {"train.objective": "language_model", "train.steps": 7})


def staged(*stages, **data):
    return Config(data=DataConfig(sources=("films",), target="books", **data), stages=stages)


def problems(config, check=lambda config: in_stages(config, Path("run"))):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 -- the message is what is looked at
        check(config)
    return str(raised.value).split("\n  ")


def test_each_stage_is_a_run_from_the_one_before():
    config = staged(TEXTS, Stage("source", {"data.target_fraction": 0.0}), Stage("target", {"data.sources": []}))
    config = changed(config, {"train.init_from": "bundle"})
    texts, source, target = in_stages(config, Path("run"))
    assert [run.workdir for run in (texts, source, target)] == [Path("run/stages/texts"), Path("run/stages/source"), Path("run")]  # fmt: skip # noqa: E501
    assert [run.config.train.init_from for run in (texts, source, target)] == ["bundle", "run/stages/texts", "run/stages/source"]  # fmt: skip # noqa: E501
    assert (texts.config.train.steps, texts.config.train.objective) == (7, "language_model")
    assert source.config == changed(config, {"stages": (), "data.target_fraction": 0.0, "train.init_from": "run/stages/texts"})  # fmt: skip # noqa: E501
    assert (target.config.data.sources, target.config.train.steps) == ((), config.train.steps)
    validate(config)


def test_a_configuration_without_stages_is_one_run():
    assert in_stages(Config(), Path("run")) == [("", Config(), Path("run"))]


@pytest.mark.parametrize(
    ("stages", "problem"),
    [
        ((Stage("a"), Stage("a")), "two stages have the same name: a, a"),
        ((Stage("../a"),), "stage '../a': a name has letters, digits, - and _"),
        ((Stage("a", {"train.stepz": 3}),), "stage a: there is no field train.stepz; did you mean train.steps?"),
        ((Stage("a", {"seed.b": 3}),), "stage a: there is no field seed.b; did you mean seed?"),
        ((Stage("a", {"train.steps": "3"}),), "stage a: Expected `int`, got `str` - at `$.train.steps`"),
        (
            (Stage("a", {"train.init_from": "b"}),),
            "stage a: train.init_from is the same for all stages: set it outside them",
        ),
        (
            (Stage("a"), TEXTS),
            "stage texts trains a language model, which has no towers: those of stage a would be lost",
        ),
        (
            (Stage("a", {"data.split_seed": 1}), Stage("b")),
            "stage a: data.split_seed is the same for all stages: set it outside them",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_a_stage_is_named(stages, problem):
    assert problems(staged(*stages)) == [problem]


@pytest.mark.parametrize(
    ("first", "share"),
    [({}, "50%"), ({"data.sources": ("music", "/data/books"), "data.target": "films"}, "100%")],
    ids=["as the target", "as a source"],
)
def test_a_stage_may_not_train_on_users_whom_the_regime_of_the_last_may_not_see(first, share):
    zero_shot = Stage("last", {"data.target_fraction": 0.0})
    (problem,) = problems(staged(TEXTS, Stage("a", first), zero_shot, target_fraction=0.5))
    assert problem.startswith(f"stage a trains on {share} of the users of books, the last stage on 0%")
    in_stages(staged(TEXTS, zero_shot, target_fraction=0.5), Path("run"))  # texts are no labels


def test_every_stage_is_validated():
    config = staged(Stage("a", {"train.steps": 0, "data.target": ""}), Stage("b"))
    assert problems(config, validate) == [
        "stage a: train.steps=0 must be at least 1",
        "data.target is empty: name the folder of your shop, --data.target FOLDER",
    ]
    frozen = {"encoder.mode": "frozen"}
    assert problems(staged(Stage("a", frozen | TEXTS.changes), Stage("b")), validate)[-1].endswith(
        "train.objective=language_model trains the encoder: it needs encoder.mode=lora or full"
    )
    validate(staged(TEXTS, Stage("b", frozen)))  # with the encoder of the first stage
    assert "encoder.pretrained" in problems(dataclasses.replace(changed(Config(), frozen)), validate)[0]
