"""`llmrec export`: folders are replaced only if they hold an export; mistakes are named."""

import builtins
import json

import pytest

from llmrec_jax.cli import main
from llmrec_jax.exports import hf_export
from llmrec_jax.exports.export import export
from llmrec_jax.exports.text_encoder import text_encoder_of
from llmrec_jax.inference import bundle as bundle_lib
from tests.exports.variants import with_model


def test_an_export_is_replaced_and_other_files_are_not(folder, tmp_path):
    target = export(folder, tmp_path / "out", "numpy")
    export(folder, target, "numpy", int8=True)
    assert json.loads((target / "export.json").read_text())["int8"]
    (target / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"notes\.txt, which is not part of the export"):
        export(folder, target, "numpy")
    other = tmp_path / "other"
    other.mkdir()
    export(folder, other, "numpy")  # an empty folder
    (other / "export.json").unlink()
    with pytest.raises(ValueError, match="is not an export"):
        export(folder, other, "numpy")
    with pytest.raises(ValueError, match="this is a file"):
        export(folder, target / "notes.txt", "numpy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["other", "out"]  # no drafts


def test_the_command(folder, tmp_path, capsys, shown_work):
    assert main(["export", str(folder), "--to", str(tmp_path / "out"), "--format", "onnx", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert shown_work == [f"exporting to {tmp_path / 'out'}"]
    assert facts["format"] == "onnx"
    assert {"scorer.onnx", "encoder.onnx", "items.json", "tokenizer.json"} <= set(facts["files"])
    assert facts["bytes"] > 10_000
    assert main(["export", str(tmp_path), "--to", str(tmp_path / "new"), "--format", "numpy"]) == 2
    assert not (tmp_path / "new").exists()


def test_the_current_folder_is_a_folder_like_others(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert export(folder, ".", "numpy") == tmp_path
    assert (tmp_path / "recommender.py").is_file()


def test_what_a_format_lacks_is_named(folder, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="known: hf, jax, onnx, numpy"):
        export(folder, tmp_path / "out", "tflite")
    with pytest.raises(ValueError, match="--int8 stores item vectors"):
        export(folder, tmp_path / "out", "hf", int8=True)
    real = builtins.__import__

    def without_onnx(name, *arguments):
        if name.split(".")[0] == "onnx" or name.endswith("onnx_ops"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", without_onnx)
    with pytest.raises(ValueError, match=r"pip install 'llmrec_jax\[onnx\]'"):
        export(folder, tmp_path / "out", "onnx")


def test_a_model_of_ids_has_no_encoder_to_export(folder, tmp_path):
    variant = with_model(bundle_lib.load(folder), item_features="id")
    assert text_encoder_of(variant) is None
    with pytest.raises(ValueError, match="reads no text"):
        hf_export.write(variant, tmp_path)
