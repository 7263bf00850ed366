"""The space of a sweep, and the file that its best configuration is written to."""

import dataclasses

import pytest

from llmrec_jax import config as config_lib
from llmrec_jax.config import Config, ModelConfig, Stage
from llmrec_jax.recipes import my_shop
from llmrec_jax.tuning.config_file import as_source
from llmrec_jax.tuning.space import Choice, Range, parse_space

CONFIG = dataclasses.replace(my_shop.config(), data=dataclasses.replace(my_shop.config().data, target="demo:books"))


def test_forms():
    texts = ["optim.learning_rate=1e-4:1e-2:log", "model.dropout=0:0.5", "model.num-layers=1:4",
             "loss.ranking=softmax,in_batch", "train.batch_size=64,128", "model.recency_mean=true,False"]  # fmt: skip
    assert parse_space(texts, CONFIG) == {
        "optim.learning_rate": Range(1e-4, 1e-2, is_log=True, is_int=False),
        "model.dropout": Range(0, 0.5, is_log=False, is_int=False),
        "model.num_layers": Range(1, 4, is_log=False, is_int=True),
        "loss.ranking": Choice(("softmax", "in_batch")),
        "train.batch_size": Choice((64, 128)),
        "model.recency_mean": Choice((True, False)),
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("optim.learning_rate", "write FIELD=LOW:HIGH"),
        ("optim.learning_rate=1e-4:x", "write FIELD=LOW:HIGH"),
        ("optim.learning_rate=1:2:exp", "write FIELD=LOW:HIGH"),
        ("optim.learning_rate=0:1:log", "ends of a logarithmic range are above 0"),
        ("model.dropout=0.5:0.1", "LOW has to be below HIGH"),
        ("model.dropout=0.1:1.5", "model.dropout"),
        ("model.num_layers=1:2.5", "takes whole numbers"),
        ("optim.learning_rat=1,2", "did you mean optim.learning_rate"),
        ("model.user_tower=mean,gru", "'gru'.*user_tower"),
        ("data.max_history=10,20", "data.max_history changes the prepared data, which all trials share"),
        ("encoder.mode=full,lora", "encoder.mode changes the prepared data"),
    ],
)
def test_mistakes_are_named(text, reason):
    with pytest.raises(ValueError, match=reason):
        parse_space([text], CONFIG)


def test_no_field_and_a_field_twice():
    with pytest.raises(ValueError, match="--space is empty"):
        parse_space([], CONFIG)
    with pytest.raises(ValueError, match=r"model\.dropout is given twice"):
        parse_space(["model.dropout=0:0.5", "model.dropout=0.1,0.2"], CONFIG)


@pytest.mark.parametrize(
    "config",
    [
        Config(),
        CONFIG,
        Config(
            stages=(Stage(name="a", changes={"train.steps": 3}),),
            model=ModelConfig(width=48),
        ),
    ],
)
def test_a_configuration_survives_its_file(config, tmp_path):
    path = tmp_path / "best.py"
    path.write_text(as_source(config, 'The "best" \\ of\nall """'))
    assert config_lib.load(path) == config
