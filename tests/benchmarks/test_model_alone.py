"""The benchmark of the model alone: its table, on tiny models of item ids."""

from benchmarks import model_alone

CONFIG = """
from llmrec_jax.config import Config, DataConfig, LossConfig, ModelConfig, TrainConfig

def config():
    return Config(
        data=DataConfig(sources=(), max_history=6),
        model=ModelConfig(item_features="id", user_tower="mean", width=8),
        loss=LossConfig(ranking="softmax"),
        train=TrainConfig(steps=2, batch_size=16, eval_every=1),
    )
"""


def test_table(tmp_path, capsys):
    (tmp_path / "config.py").write_text(CONFIG)
    arguments = [str(tmp_path), "demo:books", "--config", str(tmp_path / "config.py"), "--cache-dir", str(tmp_path)]
    model_alone.main([*arguments, "--row=--model.start counts --train.steps 1 --train.eval-every 0"])
    lines = capsys.readouterr().out.splitlines()
    names, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if not line.startswith("|---")]
    assert names[:3] == ["change", "validation", "test"]
    assert [row[0] for row in rows] == ["none", "`--model.start counts --train.steps 1 --train.eval-every 0`"]
    assert rows[0][3] == "-"
    assert rows[1][4] == "1"
    before, after = (float(row[2].split(" / ")[1]) for row in rows)
    assert after > before  # counts know more than two steps from random vectors
    assert abs(float(rows[1][3].split(" ")[0]) - (after - before)) < 2e-4
