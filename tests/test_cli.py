"""Commands: exit code 0 on success; 2 and one message on wrong usage or input; a traceback on bugs."""

import ast
import errno
import inspect
import io
import itertools
import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

import llmrec_jax
from llmrec_jax import cli
from llmrec_jax import config as config_lib
from llmrec_jax.cli.training import _fresh
from llmrec_jax.config import Config
from llmrec_jax.data.domains import demo
from llmrec_jax.data.texts.whitening import Whitening
from llmrec_jax.errors import one_line_errors
from llmrec_jax.train.workdir import claim
from tests.conftest import REPO
from tests.inference.untrained import run_and_bundle

CONFIG = """
from llmrec_jax.config import Config, DataConfig, MeshConfig

def config():
    return Config(data=DataConfig(sources=(), target="shop", root={root!r}, cache_dir={root!r} + "/cache"))
"""


@pytest.fixture
def call(capsys):
    """Calls a command; gives its exit code and what it printed to both streams."""

    def run(command, *arguments):
        try:
            code = command([str(argument) for argument in arguments])
        except SystemExit as exit:
            code = exit.code
        streams = capsys.readouterr()
        assert "Traceback" not in streams.err
        return code, streams.out, streams.err

    return run


@pytest.fixture
def shop(tmp_path):
    """A sound domain as small as can be; its folder."""
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "items.jsonl").write_text('{"item_id": "a", "title": "One"}\n')
    (folder / "interactions.csv").write_text("user_id,item_id\nu,a\n")
    return folder


@pytest.fixture
def bad_shop(shop):
    """The same with two bad lines."""
    with (shop / "items.jsonl").open("a") as file:
        file.write('{"item_id": "b"}\n')
    with (shop / "interactions.csv").open("a") as file:
        file.write("u,nothing\n")
    return shop


@pytest.fixture
def config(tmp_path, shop):
    """A configuration file of a run on the small shop."""
    path = tmp_path / "small.py"
    path.write_text(CONFIG.format(root=str(tmp_path)))
    return path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return run_and_bundle(tmp_path_factory.mktemp("bundle"), "id")[1]


def test_validate_sound(call, shop):
    code, out, err = call(cli.main, "validate", shop)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        f"{shop}: sound: 1 users, 1 items, 1 interactions",
        "  order: sequence (no row has a time, so the rows are taken to be in order of time)",
    ]
    code, out, _ = call(cli.main, "validate", shop, "--json")
    facts = json.loads(out)
    assert (code, facts["sound"], facts["interactions"], facts["order"]) == (0, True, 1, "sequence")
    (shop / "interactions.csv").write_bytes(b"user_id;item_id;price\ru ;a;1\ru;a;2\r")
    assert call(cli.main, "validate", shop)[1].splitlines()[2:] == [
        "  interactions.csv: carriage returns (CR) end lines: read as line ends",
        "  interactions.csv: separator ';' recognised",
        "  interactions.csv: 1 ids had surrounding blanks, which were removed",
        "  interactions.csv: columns that are not read: price",
        "  1 repeats of an item by the same user dropped: the first is kept",
    ]
    assert len(json.loads(call(cli.main, "validate", shop, "--json")[1])["notes"]) == 5


def test_validate_names_every_cause(call, bad_shop):
    with (bad_shop / "interactions.csv").open("a") as file:
        file.write("u,nothing\n" * 400)
    code, out, _ = call(cli.main, "validate", bad_shop)
    assert code == 2
    assert out.splitlines() == [
        "items.jsonl:2: no title",
        "interactions.csv:3: item_id is not among the items (401 times; also interactions.csv:4, interactions.csv:5, "
        "...); add the items, or leave these rows out with data.on_bad_record=skip",
    ]
    code, out, _ = call(cli.main, "validate", bad_shop, "--json")
    assert code == 2
    assert [(bad["file"], bad["line"]) for bad in json.loads(out)["bad"]] == [
        ("items.jsonl", 2),
        *[("interactions.csv", line) for line in range(3, 404)],
    ]


def test_validate_says_what_is_no_domain(call, shop, tmp_path):
    assert "is a file, not a folder" in call(cli.main, "validate", shop / "items.jsonl")[2]
    assert "holds domain folders: shop" in call(cli.main, "validate", tmp_path)[2]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_from_the_data_cannot_disturb_the_terminal(shop, encoding):
    (shop / "items.jsonl").write_text('{"item_id": "a", "title": "One", "[b]\\u001b[31m\\t\\n红\\u202e": []}\n')
    result = python("-m", "llmrec_jax", "validate", shop, PYTHONIOENCODING=encoding)
    assert (result.returncode, result.stderr) == (0, "")
    assert r"items.jsonl: fields that are not read: '[b]\x1b[31m\t\n\u7ea2\u202e (1)'" in result.stdout
    assert not {"\x1b", "\t", "\u202e"} & set(result.stdout)


def test_a_closed_pipe_ends_a_verb_quietly(shop):
    (shop / "interactions.csv").write_text("user_id,item_id\nu,a\n" + "u,nothing\n" * 2000)  # more than a pipe holds
    command = f"{sys.executable} -m llmrec_jax validate {shop} --json | head -c 10"
    result = subprocess.run(["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"], cwd=REPO, capture_output=True)
    assert (result.returncode, result.stderr, len(result.stdout)) == (141, b"", 10)


def test_prepare(call, tmp_path, bad_shop):
    cache = ("--data.root", tmp_path, "--data.cache_dir", tmp_path / "cache")
    code, out, _ = call(cli.main, "prepare", "demo:books", *cache, "--json")
    assert code == 0
    assert (json.loads(out)["items"], json.loads(out)["users"]) == demo.SIZES["books"][:2]
    code, _, err = call(cli.main, "prepare", "shop", *cache)
    assert code == 2
    assert "items.jsonl:2: " in err
    code, out, _ = call(cli.main, "prepare", "shop", *cache, "--data.on_bad_record", "skip")
    assert code == 0
    assert "1 users, 1 items, 1 interactions" in out
    assert "  order: sequence (" in out
    assert "skipped 1 x interactions.csv: item_id is not among the items" in out
    code, out, _ = call(
        cli.main, "export-tfds", "shop", "--to", tmp_path / "out", *cache, "--data.on_bad_record", "skip"
    )
    assert (code, out.split(":")[0]) == (0, str(tmp_path / "out" / "domain_records" / "1.0.0"))
    code, out, _ = call(cli.main, "prepare", "demo:books", *cache, "--data.min_rating", 3)
    assert "276 interactions rated below data.min_rating=3 left out" in out
    code, _, err = call(cli.main, "prepare", "nowhere", *cache)
    assert code == 2
    assert err.startswith("error: no domain 'nowhere'")


def test_recommend(call, bundle, monkeypatch):
    history = ("--history", "book-0001", "nowhere", "film-0002")
    code, out, _ = call(cli.main, "recommend", bundle, *history, "--k", 3, "--json")
    answer = json.loads(out)
    assert (code, answer["unknown"], len(answer["recommendations"])) == (0, ["nowhere"], 3)
    assert answer["recommendations"][0].keys() == {"item_id", "score", "title"}
    code, out, err = call(cli.main, "recommend", bundle, *history, "--k", 3)
    assert code == 0
    assert "nowhere" in err
    assert out.splitlines() == [
        f"{row['item_id']}\t{row['score']:.4f}\t{row['title']}" for row in answer["recommendations"]
    ]
    code, out, _ = call(cli.main, "recommend", bundle, *history, "--k", 3, "--probabilities", "--json")
    shares = [row["probability"] for row in json.loads(out)["recommendations"]]
    assert (code, len(shares)) == (0, 3)
    lines = call(cli.main, "recommend", bundle, *history, "--k", 3, "--probabilities")[1].splitlines()
    assert [line.split("\t")[3] for line in lines] == [f"{share:.2g}" for share in shares]
    assert call(cli.main, "recommend", bundle, "--k", 1, "--probabilities")[1].split("\t")[3] == "-\n"
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    out = call(cli.main, "recommend", bundle, *history, "--k", 3)[1]
    monkeypatch.undo()
    assert "score" in out.splitlines()[0]
    assert all(row["item_id"] in out for row in answer["recommendations"])
    assert len(json.loads(call(cli.main, "recommend", bundle, "--json")[1])["recommendations"]) == 10


def with_items(bundle, folder, **fields):
    """A copy of a bundle whose first target item has these fields, and every other item the same title."""
    shutil.copytree(bundle, folder)
    items = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    title = {name: value for name, value in fields.items() if name == "title"}
    items = [item | (fields if item["item_id"] == "book-0001" else title) for item in items]
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    return folder


def test_recommend_says_that_these_are_the_most_popular(call, bundle):
    code, out, err = call(cli.main, "recommend", bundle, "--history", "nowhere", "--k", 3)
    assert (code, len(out.splitlines())) == (0, 3)
    assert "nothing in the history is known: these are the most popular items" in err
    assert "no history is given: these are the most popular" in call(cli.main, "recommend", bundle)[2]
    assert "popular" not in call(cli.main, "recommend", bundle, "--history", "book-0001")[2]
    for history, fallback in ((["nowhere"], True), (["book-0001"], False)):
        answer = json.loads(call(cli.main, "recommend", bundle, "--json", "--history", *history)[1])
        assert answer["fallback"] is fallback


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "ascii"])
def test_recommend_prints_any_title(call, bundle, tmp_path, monkeypatch, terminal, encoding):
    title = "The\tend\nof [red]the[/] \x1b[31mline\x1b[0m \u202e\x85:smile: 🦄 \u2028é"
    odd = with_items(bundle, tmp_path / "odd", title=title)
    stream = io.TextIOWrapper(io.BytesIO(), encoding)
    stream.isatty = lambda: terminal
    monkeypatch.setattr("sys.stdout", stream)
    monkeypatch.setenv("COLUMNS", "200")
    assert cli.main(["recommend", str(odd), "--history", "book-0002", "--k", "3"]) == 0
    stream.flush()
    lines = stream.buffer.getvalue().decode(encoding).splitlines()[terminal:]
    assert len(lines) == 3
    expected = "The end of [red]the[/] line  :smile: 🦄  é".encode(encoding, "replace").decode(encoding)
    assert all(line.rstrip().endswith(expected) for line in lines)
    assert terminal or all(line.count("\t") == 2 for line in lines)


def test_ids_that_begin_with_a_dash(call, bundle, tmp_path):
    odd = with_items(bundle, tmp_path / "odd", item_id="-1x")
    for history in (["--history=-1x"], ["--history", "-1x"], ["--history", "-1x", "book-0002"]):
        code, out, err = call(cli.main, "recommend", odd, *history, "--json")
        assert (code, err) == (0, "")
        assert json.loads(out)["unknown"] == []


def test_a_run_and_its_bundle_are_taken_for_each_other(call, bundle, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(bundle, run / "bundle")
    history = ("--history", "book-0001", "--json")
    code, out, err = call(cli.main, "recommend", run, *history)
    assert (code, out) == call(cli.main, "recommend", bundle, *history)[:2]
    assert err == f"{run} is a work folder; recommending from {run / 'bundle'}\n"
    code, _, err = call(cli.main, "evaluate", run / "bundle")
    assert code == 2
    assert f"{run} is not the work folder of a run" in err


def test_a_bundle_that_is_not_ours_is_refused_before_the_training(call, config, tmp_path):
    (tmp_path / "run" / "bundle").mkdir(parents=True)
    (tmp_path / "run" / "bundle" / "thesis.txt").write_text("precious")
    code, _, err = call(cli.train, config, "--workdir", tmp_path / "run")
    assert (code, err.count("\n")) == (2, 1)
    assert "is not replaced; move it away or choose another --workdir" in err
    assert [path.name for path in (tmp_path / "run").rglob("*")] == ["bundle", "thesis.txt"]


def test_wrong_input_of_the_verbs(call, bundle, tmp_path):
    assert call(cli.main, "recommend", bundle, "--k", 0) == (2, "", "error: k=0: ask for at least one item\n")
    code, _, err = call(cli.main, "recommend", tmp_path)
    assert code == 2
    assert "config.json" in err
    code, _, err = call(cli.main, "evaluate", tmp_path)
    assert code == 2
    assert f"{tmp_path} is not the work folder of a run" in err
    assert call(cli.main, "validate", tmp_path / "nowhere")[0] == 2
    assert call(cli.main, "walk")[0] == 2
    assert call(cli.main, "recommend", bundle, "--kk", 3)[0] == 2
    assert call(cli.main, "recommend", bundle, "--k", "many")[0] == 2


@pytest.mark.parametrize("verb", ["validate", "prepare", "export-tfds", "evaluate", "recommend", "fetch-encoder"])
def test_help(call, verb):
    code, out, _ = call(cli.main, verb, "--help")
    assert code == 0
    assert "--json" in out
    assert f"Example: llmrec {verb} " in out


def test_help_lists_every_verb_with_train_first(call):
    code, out, _ = call(cli.main, "--help")
    assert code == 0
    verbs = re.search(r"\{(.*?)\}", out)[1].split(",")
    assert verbs[0] == "train"
    assert {"validate", "prepare", "evaluate", "recommend"} <= set(verbs)


def test_version(call):
    assert call(cli.main, "--version") == (0, f"llmrec_jax {llmrec_jax.__version__}\n", "")


def test_dir_of_the_package_shows_what_there_is():
    assert {"Recommender", "UserError", "models", "__version__"} <= set(dir(llmrec_jax))
    assert all(hasattr(llmrec_jax, name) for name in dir(llmrec_jax))


def test_shell_completion_knows_the_fields(call):
    code, out, _ = call(cli.main, "--tyro-print-completion", "bash")  # exits with None
    assert not code
    assert "--data.target" in out


def test_help_of_every_field_ends_in_whole_sentences():
    """A line of a field's documentation is a line of `--help`: where one breaks inside a sentence, so does the help."""
    files = (REPO / "llmrec_jax" / "config").glob("*fields.py")
    for section in itertools.chain(*(ast.parse(file.read_text()).body for file in files)):
        for field, after in itertools.pairwise(getattr(section, "body", [])):
            if isinstance(field, ast.AnnAssign) and ast.unparse(field.annotation) not in vars(config_lib):
                where = f"line {field.lineno}: {ast.unparse(field.target)}"
                assert isinstance(after, ast.Expr), f"{where} has no documentation"
                lines = inspect.cleandoc(ast.literal_eval(after.value)).splitlines()
                assert all(line.endswith((".", ":")) for line in lines), where


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


def test_bugs_keep_their_traceback(capsys):
    with one_line_errors() as status:
        demo.write("nowhere", REPO)
    assert status.code == 2
    assert capsys.readouterr().err.startswith("error: no built-in shop")
    with pytest.raises(ValueError, match="mismatch"), one_line_errors():  # NumPy's, about shapes, in a line of ours
        Whitening(np.zeros(3), np.zeros((2, 2)))(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="Expecting value"), one_line_errors():
        json.loads("")
    with pytest.raises(KeyError), one_line_errors():
        {}["nothing"]


def test_what_the_machine_or_a_signal_is_to_blame_for_is_one_line(capsys, tmp_path):
    (tmp_path / "file").touch()
    with one_line_errors() as status:
        (tmp_path / "file" / "run").mkdir(parents=True)
    assert status.code == 2
    path = tmp_path / "file" / "run"
    assert capsys.readouterr().err == (
        f"error: {path}: Not a directory: a part of this path is a file; choose another folder\n"
    )
    with one_line_errors() as status:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/run/metrics.jsonl")
    assert status.code == 2
    assert capsys.readouterr().err.startswith("error: /run/metrics.jsonl: No space left on device: free some space")
    with one_line_errors() as status:
        raise KeyboardInterrupt
    assert (status.code, capsys.readouterr().err) == (75, "stopped\n")


def python(*arguments, **variables):
    command = [sys.executable, *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(REPO)} | variables
    return subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, timeout=60)


def test_help_and_validate_start_without_jax(shop):
    code = (
        "import sys; from llmrec_jax.cli import main\ntry:\n main(sys.argv[1:])\nfinally: print('jax' in sys.modules)"
    )
    for arguments in (["--help"], ["validate", shop]):
        assert python("-c", code, *arguments).stdout.endswith("False\n")


def test_exit_codes_of_the_programs(config, shop):
    result = python("train.py", config, "--data.max_histroy", "3")
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    assert python("-m", "llmrec_jax", "validate", shop).returncode == 0
    assert python("-m", "llmrec_jax", "validate", shop / "nowhere").returncode == 2
