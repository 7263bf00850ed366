"""The pages: complete, valid, self-contained; item titles are text; what a run lacks is named."""

import html.parser
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from llmrec_jax import cli
from llmrec_jax.errors import UserError
from llmrec_jax.html import write_comparison, write_report
from llmrec_jax.html.page import SECTIONS
from tests.evaluate.test_adaptation_plots import adapted  # noqa: F401

USERS, ITEMS = 60, 30
ATTACK = '</title></script><script>alert(1)</script><img src="x" onerror="alert(2)">&amp;\u202e\x00 "quoted"'
VOID = {"meta"}


class Page(html.parser.HTMLParser):
    """Checks that every element is closed in order; keeps tags with attributes, and the text outside styles."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.stack

    def handle_starttag(self, tag, attrs):
        assert len({name for name, _ in attrs}) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag

    def handle_data(self, data):
        if "style" not in self.stack:
            self.text += data


@pytest.fixture
def run(tmp_path):
    """Writes the files of a finished run; `better` places are taken off the answer's ranks."""

    def write(name="run", seed=0, better=0, verdict="shop: the answer is better"):
        folder = tmp_path / name
        (folder / "bundle").mkdir(parents=True)
        rng = np.random.default_rng(0)
        methods = ("popularity", "ease", "model", "only text", "without text", "without model", "answer")
        ranks = {method: rng.integers(1, 25, USERS).astype(float) for method in methods}
        ranks["answer"] = np.maximum(1, ranks["answer"] - better)
        users = {
            "user_ids": np.array([f"secret-user-{user}" for user in range(USERS)]),
            "history_length": np.arange(USERS) % 14 + 1,
            "target_events": np.arange(USERS) % 25,
        }
        np.savez(folder / "ranks.npz", **users, **ranks)
        rows = [
            {"method": method, "domain": "shop", "split": split, "users": USERS, "recall@10": 0.2, "ndcg@10": 0.1,
             "mrr": 0.1, "tied_users": 0.0} | ({"sees": "the target's interactions"} if method == "ease" else {})
            for method in methods for split in ("valid", "test")
        ]  # fmt: skip
        domain = {"users": USERS, "items": ITEMS, "interactions": 900, "repeats_dropped": 2, "order": "timestamp",
                  "order_reason": "every row has a time", "notes": ["a note"], "skipped": {"no title": 3},
                  "split": "leave-one-out", "trained_users": 9}  # fmt: skip
        leaks = {"target_users_in_source": 0, "target_items_with_id_in_source": 7,
                 "target_items_with_text_in_source": 0, "source_events_after_target_test_cut": None}  # fmt: skip
        report = {
            "hashes": {"content": "c0", "split": "s0", "run": f"r{seed}"},
            "regime": "few-shot",
            "verdict": verdict,
            "comparison": {"decision": "better", "method": "answer", "baseline": "popularity", "domain": "shop",
                           "users": USERS, "difference": 0.1, "interval_95": [0.05, 0.15]},
            "results": rows,
            "left_out": [{"method": "l3ae", "reason": "no two texts share a word"}],
            "lists": [{"method": "answer", "users": USERS, "coverage@10": 0.5, "diversity@10": None}],
            "slices": [{"by": "items of the history", "rows": [
                {"values": "1 to 2", "users": 8, "ndcg@10": dict.fromkeys(methods, 0.1)}]}],
            "tasks": [{"task": "rating", "method": "model", "domain": "shop", "split": "test", "rmse": 0.9}],
            "selection": {"validator": "target_valid_ndcg@10", "step": 20, "value": 0.12},
            "answer": {"weights": {"text": 1.0, "model": 0.5}, "users": 9, "reason": "fitted"},
            "seconds": {"prepare": 1.5, "train": 3700.0},
            "versions": {"python": "3", "devices": "1 x cpu"},
            "data": {"domains": {"other": domain, "shop": domain}, "leaks": {"other": leaks}},
        }  # fmt: skip
        (folder / "report.json").write_text(json.dumps(report))
        config = {"seed": seed, "model": {"width": 8}, "loss": {"temperature": 0.5 + better}, "stages": []}
        (folder / "config.json").write_text(json.dumps(config))
        lines = []
        for step in range(1, 41):
            line = {"step": step, "loss": 5 / step, "loss/ranking/source": 3 / step, "loss/ranking/target": 2 / step,
                    "grad_norm": None if step == 3 else 1.0, "seconds": 0.1, "examples_per_second": 640.0 + step,
                    "tokens_per_second": 0.0, "learning_rate": 0.001}  # fmt: skip
            lines.append(line | ({"valid/ndcg@10": 0.1 + step / 1000} if step % 10 == 0 else {}))
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        items = [{"item_id": str(n), "title": ATTACK, "domain": "other" if n < 10 else "shop"} for n in range(ITEMS)]
        (folder / "bundle" / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
        vectors = {"item_vectors": rng.standard_normal((ITEMS, 9)).astype(np.float32),
                   "popularity": np.arange(ITEMS, dtype=np.float32)}  # fmt: skip
        save_file(vectors, folder / "bundle" / "model.safetensors")
        item = {"item_id": "3", "title": ATTACK, "events": 0}
        shelf = [item | {"score": 1.0, "parts": {"text": 0.8, "model": -0.1}}]
        user = {"length": 12, "history": [item] * 10, "next": item | {"place": 1}, "shelf": shelf}
        (folder / "shelves.json").write_text(json.dumps({"domain": "shop", "users": [user] * 10}))
        return folder

    return write


def is_self_contained(page: str) -> Page:
    """A valid page without scripts that refers to nothing outside itself."""
    found = Page(page)
    ids = {attributes["id"] for _, attributes in found.tags if "id" in attributes}
    for tag, attributes in found.tags:
        assert tag not in {"script", "img", "link", "iframe", "object", "embed", "base", "image", "use", "form"}
        assert not {"src", "srcset", "action", "background"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
        if "href" in attributes:
            assert attributes["href"].removeprefix("#") in ids
        assert tag != "svg" or attributes.get("role") == "img" or attributes.get("aria-hidden") == "true"
    assert not re.search(r"http|url\(|@import|javascript:", page)
    assert "prefers-color-scheme: dark" in page
    assert not re.search(r"\bnan\b|\binf\b|None", page)
    return found


def test_the_page_of_a_run_is_complete_and_self_contained(run, capsys, shown_work):
    workdir = run()
    assert cli.main(["report", str(workdir)]) == 0
    assert shown_work == ["writing report.html"]
    assert capsys.readouterr().out == f"{workdir / 'report.html'}\n"
    page = (workdir / "report.html").read_text()
    found = is_self_contained(page)
    headings = [attributes["id"] for tag, attributes in found.tags if tag == "section"]
    assert len(headings) == len(SECTIONS)
    verdict = "Better than every baseline that sees the same data"
    assert found.text.index(verdict) < found.text.index("Methods")  # the verdict is first
    for said in (
        "shop: the answer is better",
        "61 min",
        "1 h 01 min",
        "l3ae: no two texts share a word",
        "selected: step 20",
    ):
        assert (said in found.text) == (said != "61 min")
    assert "Left out:" not in found.text.replace("Left out: l3ae", "")
    assert "secret-user" not in page
    assert len(page) < 100_000
    assert write_report(workdir).read_text() == page


def test_titles_are_text(run):
    found = is_self_contained(write_report(run(verdict=ATTACK)).read_text())
    harmless = ATTACK.replace("\u202e", "").replace("\x00", "")
    assert found.text.count(harmless) == 1 + 10 * 12  # the verdict; of each user: 10 bought, one next, one on the shelf
    assert not {"\u202e", "\x00"} & set(found.text)


def test_numbers_of_the_page_are_those_of_the_files(run):
    workdir = run(better=3)
    found = Page(write_report(workdir).read_text())
    ranks = np.load(workdir / "ranks.npz")
    mean = np.where(ranks["answer"] <= 10, 1 / np.log2(1 + ranks["answer"]), 0).mean()
    assert f"answer{mean:.4f}" in found.text  # a row of the chart
    assert "items of the target whose id is in this source7" in found.text
    assert "unknown: no times" in found.text
    assert "loss.temperature3.50.07" in found.text  # differs from its default
    assert "0.05 to" not in found.text  # intervals have signs
    assert "+0.0500 to +0.1500" in found.text


@pytest.mark.parametrize(
    ("missing", "sections"),
    [
        ("ranks.npz", {"methods", "parts-of-the-answer", "slices"}),
        ("metrics.jsonl", {"training", "throughput"}),
        ("bundle", {"map-of-the-items"}),
        ("shelves.json", {"example-histories"}),
        ("config.json", {"configuration", "map-of-the-items"}),
    ],
)
def test_what_a_run_lacks_is_left_out_and_named(run, missing, sections):
    workdir = run()
    path = workdir / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    found = is_self_contained(write_report(workdir).read_text())
    there = {attributes["id"] for tag, attributes in found.tags if tag == "section"}
    assert {name.lower().replace(" ", "-") for name in SECTIONS} - there == sections
    for section in sections:
        assert f"Left out: {section.replace('-', ' ')}: the run has no {missing}" in found.text


def test_damaged_files_and_old_reports_are_named(run):
    workdir = run()
    (workdir / "ranks.npz").write_bytes(b"PK")
    (workdir / "shelves.json").write_text("[")
    (workdir / "report.json").write_text(json.dumps({"hashes": {"split": "s"}, "results": []}))
    found = is_self_contained(write_report(workdir).read_text())
    for said in (
        "slices: ranks.npz cannot be read",
        "histories: shelves.json cannot be read",
        "time: report.json has no",
    ):
        assert said in found.text
    with pytest.raises(UserError, match="holds no finished run"):
        write_report(workdir / "bundle")


def test_short_runs_and_reports_of_other_versions(run):
    workdir = run()
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    (workdir / "metrics.jsonl").write_text(lines[0] + "\n")
    report = json.loads((workdir / "report.json").read_text())
    del report["data"]["domains"]["shop"]["order_reason"]
    (workdir / "report.json").write_text(json.dumps(report))
    found = is_self_contained(write_report(workdir).read_text())
    assert "Left out: data: the run was made by another version and lacks 'order_reason'" in found.text
    assert "gradient norm" in found.text
    (workdir / "perplexity.json").write_text("{}")
    with pytest.raises(UserError, match=r"a run with train\.objective=language_model"):
        write_report(workdir)


def test_where_a_comparison_is_written(run, tmp_path):
    workdir = run()
    assert write_comparison([workdir], ("answer", "ease"), tmp_path / "new" / "page.html").is_file()
    with pytest.raises(UserError, match="is a folder; name a file"):
        write_comparison([workdir], ("answer",), workdir)


def test_the_page_of_a_comparison(run, capsys, tmp_path):
    workdirs = [run("a"), run("b", better=8)]
    path = tmp_path / "compared.html"
    assert cli.main(["compare", *map(str, workdirs), "--html", str(path)]) == 0
    capsys.readouterr()
    page = path.read_text()
    found = is_self_contained(page)
    assert "b: answer is better than a: answer" in found.text
    assert "loss.temperature0.58.5" in found.text
    assert "NDCG@10 of the model on validation" in found.text
    assert "secret-user" not in page
    assert write_comparison(workdirs, ("answer",), path).read_text() == page
    turned = Page(write_comparison(workdirs[::-1], ("answer",), path).read_text())
    assert "b: answer is the best" in turned.text
    shutil.rmtree(workdirs[0] / "bundle")
    (workdirs[0] / "metrics.jsonl").unlink()
    is_self_contained(write_comparison(workdirs, ("answer", "ease"), Path(path)).read_text())


def test_the_page_of_an_adaptation(adapted, capsys):  # noqa: F811
    folder = adapted()
    assert cli.main(["report", str(folder)]) == 0
    capsys.readouterr()
    found = is_self_contained((folder / "report.html").read_text())
    assert "coral:1 is exported" in found.text
    assert "coral:1+0.0600" in found.text  # as the guard saw it
    assert "coral:1+0.0400" in found.text  # on test
    assert "coral:1, A-distance 1.10" in found.text
    assert "left_out_source0.10000.11000.1200+0.50" in found.text
    assert {"adaptation loss, unweighted", "ranking loss"} <= set(
        re.findall(r"<figcaption>(.*?)<", (folder / "report.html").read_text())
    )
    shutil.rmtree(folder / "candidates")
    (folder / "revealed.json").unlink()
    assert cli.main(["report", str(folder)]) == 0
    text = is_self_contained((folder / "report.html").read_text()).text
    assert "Left out: items before and after: no candidate kept item vectors" in text
    assert "test: NDCG@10" not in text
