"""`llmrec train` with wrong arguments, files and folders."""

import re

import pytest

from llmrec_jax import cli
from llmrec_jax.cli.training import _fresh
from llmrec_jax.config import Config
from llmrec_jax.train.workdir import claim


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.max_histroy", "3"], "--data.max-history"),
        (["--data.max_history", "many"], "many"),
        (["--data.split", "halves"], "leave_one_out"),
        (["--train.steps", "0"], "error: train.steps=0 must be at least 1"),
        (["--train.checkpoint_every", "0"], "error: train.checkpoint_every=0 must be at least 1"),
        (["--data.text_fields", "brand"], "error: data.text_fields=('brand',) must contain title"),
        (["--data.min_rating", "nan"], "error: data.min_rating=nan is not a finite number"),
        (["--data.description_chars", "0"], "error: data.description_chars=0 must be at least 1"),
        (["--data.target_fraction", "1.5"], "error: data.target_fraction=1.5 is not between 0 and 1"),
        (["--mesh.data", "3", "--mesh.fsdp", "5"], "= 15 devices, but this job has 8"),
        (["--mesh.fsdp", "3"], "data x fsdp x tensor = 2 x 3 x 1 = 6 devices, but this job has 8"),
        (["--data.target", "nowhere"], "error: no domain 'nowhere'"),
        (
            ["--data.target", "demo:books", "--data.target_fraction", "0.0001"],
            "of 1,200 training users rounds to 0 users",
        ),
        (["--data.target", "demo:nowhere"], "error: no built-in shop 'nowhere'; there are demo:films, demo:books"),
        (["--data.target", "demo:books", "--encoder.pretrained", "/nowhere"], "error: /nowhere: no such folder"),
    ],
)
def test_train_with_wrong_arguments(call, config, tmp_path, arguments, message):
    code, _, err = call(cli.train, config, "--workdir", tmp_path / "run", *arguments)
    assert code == 2
    assert message in err
    assert not (tmp_path / "run").exists()  # nothing is claimed, so a corrected command can use the folder


def test_a_new_folder_is_named_after_the_work_folder_and_the_time(tmp_path):
    first = _fresh(tmp_path / "quickstart")
    assert re.fullmatch(r"quickstart-\d{4}-\d\d-\d\d-\d{4}", first.name)
    first.mkdir()
    second = _fresh(tmp_path / "quickstart")
    assert second != first
    assert second.name.startswith(first.name[:-5])


def test_a_refused_run_leaves_nothing_in_the_folder(call, config, tmp_path):
    claim(tmp_path / "run", Config())
    code, _, err = call(cli.train, config, "--workdir", tmp_path / "run")
    assert code == 2
    assert "holds a run of another configuration" in err
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


def test_train_on_bad_records(call, config, bad_shop, tmp_path):
    code, _, err = call(cli.train, config, "--workdir", tmp_path / "run")
    assert code == 2
    assert "items.jsonl:2: no title" in err
    assert "interactions.csv:3: item_id is not among the items" in err


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such configuration file"),
        ("x = 1", "defines config()"),
        ("def config():\n    return 3", "defines config()"),
        ("def config(:", "small.py: SyntaxError"),
        ("import llmrec_jax.nowhere", "small.py:1: ModuleNotFoundError"),
        (
            "from llmrec_jax.config import DataConfig\ndef config():\n    return DataConfig(max_histroy=3)",
            "small.py:3: TypeError: DataConfig.__init__() got an unexpected keyword argument 'max_histroy'",
        ),
        (
            "from llmrec_jax.config import Config\ndef config():\n    return Config(seed='3')",
            "small.py: config() returns a value of a wrong type: Expected `int`, got `str` - at `$.seed`",
        ),
    ],
)
def test_train_with_a_wrong_configuration_file(call, config, content, message):
    config.unlink() if content is None else config.write_text(content)
    code, _, err = call(cli.train, config)
    assert code == 2
    assert err.startswith(f"error: {config}")
    assert message in err


def test_train_without_arguments(call):
    code, _, err = call(cli.train)
    assert code == 2
    assert "usage: train.py NAME|CONFIG.py" in err
    assert "my_shop, quickstart" in err
    assert call(cli.train, "--seed", 3, "quickstart")[0] == 2  # a recipe after an option would not give the defaults
    code, out, _ = call(cli.train, "--help")
    assert code == 0
    assert "usage: train.py" in out
    assert "default: runs/NAME" in out


def test_train_finds_recipes_by_name(call, tmp_path):
    code, out, _ = call(cli.main, "train", "quickstart", "--help")
    assert code == 0
    assert "default: demo:films" in out
    assert "default: runs/quickstart" in out
    code, _, err = call(cli.train, "quikstart")
    assert code == 2
    assert err.startswith("error: no recipe 'quikstart'. Did you mean quickstart? Recipes: demo, my_shop, quickstart;")
    assert call(cli.train, tmp_path / "none.py")[2] == f"error: {tmp_path / 'none.py'}: no such configuration file\n"


def test_my_shop_asks_for_the_folder(call):
    code, _, err = call(cli.main, "train", "my_shop")
    assert code == 2
    assert "--data.target FOLDER" in err
