"""The evidence holds no labels of the target, and cannot be made to."""

import ast
import dataclasses
import inspect

import numpy as np
import pytest

from llmrec_jax.selection import Candidate, Evidence, choose, sample
from llmrec_jax.selection.validators import VALIDATORS
from tests.conftest import REPO

FIELDS = {
    "source_users_ND",
    "source_losses_N",
    "target_users_MD",
    "source_items_JD",
    "target_items_ID",
    "probe_scores_MK",
    "text_scores_MK",
    "temperature",
    "left_out_ndcg",
}


def test_there_is_no_field_for_labels_of_the_target():
    """A new field has to be added here: may it depend on a validation or test event of the target?"""
    assert {field.name for field in dataclasses.fields(Evidence)} == FIELDS
    assert all(set(validator.needs) <= FIELDS for validator in VALIDATORS.values())
    assert Candidate._fields == ("name", "scores")
    assert list(inspect.signature(choose).parameters) == ["candidates", "validator"]


def test_none_can_be_added_to_an_instance():
    evidence = Evidence(left_out_ndcg=0.1)
    with pytest.raises(AttributeError):
        object.__setattr__(evidence, "target_labels", np.zeros(3))
    with pytest.raises(dataclasses.FrozenInstanceError):
        evidence.left_out_ndcg = 0.2
    with pytest.raises(TypeError):
        Evidence(target_labels=np.zeros(3))


def test_the_package_cannot_reach_the_data():
    """Of the library it imports the errors and the bootstrap only: not the corpus, the splits or the trainer."""
    imported = set()
    for file in (REPO / "llmrec_jax" / "selection").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom):
                imported.add(node.module)
            elif isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
    own = {name for name in imported if name.startswith("llmrec_jax") and "selection" not in name}
    assert own == {"llmrec_jax.errors", "llmrec_jax.evaluate.verdict"}


def test_a_validator_gets_nothing_but_the_fields_it_names():
    for name, validator in VALIDATORS.items():
        parameters = inspect.signature(validator.function).parameters.values()
        assert len([p for p in parameters if p.name != "seed"]) == len(validator.needs), name


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"source_users_ND": np.ones(3)}, r"source_users_ND has the shape \(3,\); expected \[N, D\]"),
        ({"target_users_MD": np.ones((0, 2))}, "not empty"),
        ({"source_users_ND": np.ones((3, 2)), "source_losses_N": np.ones(4)}, "differ in N: 4 and 3"),
        ({"source_users_ND": np.ones((3, 2)), "target_items_ID": np.ones((3, 4))}, "differ in D: 4 and 2"),
        ({"probe_scores_MK": np.ones((3, 2)), "text_scores_MK": np.ones((3, 4))}, "differ in K: 4 and 2"),
        ({"temperature": 0.0}, "temperature=0.0: must be above 0"),
        ({"source_losses_N": np.array([-0.1])}, "negative loss"),
    ],
)
def test_wrong_shapes_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        Evidence(**fields)


def test_a_sample_depends_on_the_seed_alone():
    numbers = sample(5000, 1000, seed=3)
    assert len(np.unique(numbers)) == 1000
    assert numbers.max() < 5000
    np.testing.assert_array_equal(numbers, sample(5000, 1000, seed=3))
    assert (numbers != sample(5000, 1000, seed=4)).any()
