"""Every number of a configuration has a range, and whatever is wrong is said in one message, a line each."""

import dataclasses

import pytest

from llmrec_jax.config import Config, flatten, from_dict, validate
from llmrec_jax.config.rules import RANGES


def with_values(**values):
    """The default configuration with fields replaced; `section__field` names one."""
    config = Config()
    for name, value in values.items():
        section, _, field = name.rpartition("__")
        if section:
            config = dataclasses.replace(
                config, **{section: dataclasses.replace(getattr(config, section), **{field: value})}
            )
        else:
            config = dataclasses.replace(config, **{field: value})
    return config


def problems(**values):
    with pytest.raises(ValueError) as raised:  # noqa: PT011 -- the message is what is looked at
        validate(with_values(**values))
    return str(raised.value).split("\n  ")


def test_every_number_has_a_range():
    numbers = [name for name, value in flatten(dataclasses.asdict(Config())).items() if type(value) in (int, float)]
    others = {"answer.model_weight", "answer.graph_weight", "train.trackers"}  # may be None; names
    assert {*numbers, *others} == set(RANGES)


def test_the_default_is_sound():
    validate(Config())


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"seed": -1}, "seed=-1 must be at least 0 and below 2**32"),
        ({"seed": 2**32}, "seed=4294967296 must be at least 0 and below 2**32"),
        ({"data__max_history": 0}, "data.max_history=0 must be at least 1"),
        ({"data__max_tokens": 0}, "data.max_tokens=0 must be at least 1"),
        ({"data__unlabelled_items": -1}, "data.unlabelled_items=-1 must be at least 0"),
        ({"data__target_share": 1.1}, "data.target_share=1.1 is not between 0 and 1"),
        ({"data__source_temperature": 0.5}, "data.source_temperature=0.5 must be at least 1"),
        ({"model__width": 0}, "model.width=0 must be at least 1"),
        ({"model__dropout": 1.0}, "model.dropout=1.0 must be at least 0 and below 1"),
        ({"encoder__dropout": -0.1}, "encoder.dropout=-0.1 must be at least 0 and below 1"),
        ({"loss__temperature": 0.0}, "loss.temperature=0.0 must be above 0"),
        ({"loss__propensity": 2.0}, "loss.propensity=2.0 is not between 0 and 1"),
        ({"loss__logit_adjustment": -1.0}, "loss.logit_adjustment=-1.0 must be at least 0"),
        ({"loss__focal": -1.0}, "loss.focal=-1.0 must be at least 0"),
        ({"data__augment_rate": 1.0}, "data.augment_rate=1.0 must be above 0 and below 1"),
        ({"loss__domain_step_size": 0.0}, "loss.domain_step_size=0.0 must be above 0"),
        ({"mesh__fsdp": 0}, "mesh.fsdp=0 must be at least 1"),
        ({"mesh__data": 0}, "mesh.data=0 must be at least 1, or -1 for all devices left"),
        ({"optim__learning_rate": 0.0}, "optim.learning_rate=0.0 must be above 0"),
        ({"optim__learning_rate": float("nan")}, "optim.learning_rate=nan is not a finite number"),
        ({"adapt__weight": float("inf")}, "adapt.weight=inf is not a finite number"),
        ({"optim__weight_decay": -0.1}, "optim.weight_decay=-0.1 must be at least 0"),
        ({"optim__warmup_steps": -1}, "optim.warmup_steps=-1 must be at least 0"),
        ({"optim__clip_norm": 0.0}, "optim.clip_norm=0.0 must be above 0"),
        ({"train__eval_every": -1}, "train.eval_every=-1 must be at least 0"),
        ({"model__width": 15}, "model.num_heads=2 does not divide model.width=15"),
        ({"encoder__num_heads": 3}, "encoder.num_heads=3 does not divide encoder.width=64"),
        ({"mesh__tensor": 4, "model__num_heads": 4}, "mesh.tensor=4 does not divide encoder.num_heads=2"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_value_out_of_range_is_named(values, problem):
    assert problems(**values) == [problem]


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            {"data__source_temperature": 2.0},
            "data.source_temperature=2.0 splits rows over the sources: it needs at least two data.sources",
        ),
        (
            {"loss__ranking": "gbce", "loss__logit_adjustment": 1.0},
            "loss.logit_adjustment=1.0 needs a softmax loss, not loss.ranking=gbce",
        ),
        ({"loss__ranking": "gbce", "loss__focal": 2.0}, "loss.focal=2.0 needs a softmax loss, not loss.ranking=gbce"),
        (
            {"data__augment": "mask", "model__user_tower": "bert4rec", "model__recency_mean": False},
            "data.augment=mask, but model.user_tower=bert4rec masks histories itself; set model.mask_rate",
        ),
        (
            {"data__sources": (), "loss__domain_weights": "group_dro"},
            "loss.domain_weights=group_dro weighs domains: it needs at least two to train on",
        ),
        (
            {"data__target_fraction": 0.0, "loss__domain_weights": "group_dro"},
            "loss.domain_weights=group_dro weighs domains: it needs at least two to train on",
        ),
        ({"model__text_map": "fixed"}, "model.text_map=fixed needs encoder.mode=frozen, not full"),
        (
            {"encoder__whitening": "domain"},
            "encoder.whitening=domain needs encoder.mode=frozen and model.text_map=trained: vectors of a trained "
            "encoder change, and a fixed map whitens all domains jointly",
        ),
        ({"model__max_id_norm": 0.5}, "model.max_id_norm=0.5 needs model.item_features=text+id"),
        (
            {"model__start": "counts"},
            "model.start=counts sets id embeddings: it needs model.item_features=text+id or id",
        ),
        ({"loss__mask_history": True}, "loss.mask_history needs loss.ranking=softmax, not in_batch"),
        (
            {"model__user_tower": "mean", "model__recency_mean": False},
            "model.user_tower=mean is the recency-weighted mean: it needs model.recency_mean=true",
        ),
        (
            {"model__score": "dot", "adapt__method": "coral"},
            "adapt.method=coral aligns unit vectors: it needs model.score=cosine",
        ),
        (
            {"tasks__click_weight": 1.0, "model__user_tower": "bert4rec", "model__recency_mean": False},
            "tasks.rating and tasks.click_weight need a causal user tower, but model.user_tower=bert4rec is "
            "bidirectional",
        ),
        (
            {"tasks__rating": "mse", "train__objective": "language_model"},
            "train.objective=language_model reads no histories: it needs tasks.rating=none, "
            "tasks.click_weight=0 and tasks.language_model_weight=0",
        ),
        (
            {"tasks__language_model_weight": 0.1, "encoder__mode": "frozen", "encoder__pretrained": "hub/name"},
            "tasks.language_model_weight=0.1 trains the encoder: it needs encoder.mode=lora or full",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_choices_that_exclude_each_other_are_named(values, problem):
    assert problems(**values) == [problem]


def test_sizes_that_nothing_is_built_with_are_not_compared():
    validate(with_values(model__width=15, model__user_tower="mean", encoder__num_heads=3, encoder__pretrained="folder"))
    validate(with_values(encoder__num_heads=3, model__item_features="id"))


def test_all_problems_stand_in_one_message():
    found = problems(seed=-1, model__width=0, data__sources=(), data__target_fraction=0.0, train__steps=0)
    assert [problem.split("=")[0] for problem in found] == [
        "seed",
        "model.width",
        "train.steps",
        "data.sources is empty and data.target_fraction",
    ]


def test_values_of_another_type_are_named():
    with pytest.raises(ValueError, match=r"Expected `int`, got `str` - at `\$\.train\.steps`"):
        from_dict({"train": {"steps": "many"}})
