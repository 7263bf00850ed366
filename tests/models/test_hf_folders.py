"""Encoder folders found in practice: those that load, and a one-line error with the remedy for the others."""

import json

import numpy as np
import pytest

from llmrec_jax.data.texts.tokenizer import load_tokenizer, train_tokenizer
from llmrec_jax.models import from_pretrained
from llmrec_jax.models.hf_tokenizer import check_vocabulary
from tests.models.golden_folders import GOLDEN, either, same

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("model.safetensors", POINTER, "model.safetensors: a Git LFS pointer .* `git lfs pull`"),
        ("config.json", POINTER, "config.json: a Git LFS pointer"),
        ("tokenizer.json", POINTER, "tokenizer.json: a Git LFS pointer"),
    ],
)
def test_a_git_lfs_pointer(edit, file, content, message):
    folder = edit("bert")
    (folder / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        load_tokenizer(folder) if file == "tokenizer.json" else from_pretrained(folder)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["pytorch_model.bin"], r"pickled \(pytorch_model.bin\)(.|\n)*AutoModel.from_pretrained"),
        (["pytorch_model-00001-of-00002.bin"], "pickled"),
        (["weights.safetensors"], "if weights.safetensors holds all weights, give it that name"),
        (["tf_model.h5"], "no model.safetensors .*; tf_model.h5 is of another framework"),
        ([], "no model.safetensors and no model.safetensors.index.json"),
    ],
)
def test_no_weights_that_can_be_read(edit, files, message):
    folder = edit("bert")
    (folder / "model.safetensors").unlink()
    for name in files:
        (folder / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=message):
        from_pretrained(folder)


def test_a_hub_repository_without_safetensors(edit):
    folder = edit("bert")
    (folder / "model.safetensors").unlink()
    snapshot = folder.rename(folder.parent / "snapshots")
    (snapshot / "0a1b").mkdir()
    (snapshot / "config.json").rename(snapshot / "0a1b" / "config.json")
    with pytest.raises(ValueError, match="the repository may have pickled weights only"):
        from_pretrained(snapshot / "0a1b")


def test_an_index_without_a_weight_map(edit):
    folder = edit("bert")
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match=r"index\.json: it has no weight_map"):
        from_pretrained(folder)


def test_a_folder_whose_encoder_lies_deeper(edit):
    folder = edit("bert")
    with pytest.raises(ValueError, match="edited has one: name that folder"):
        from_pretrained(folder.parent)


@pytest.mark.parametrize(
    ("kind", "classes", "message"),
    [
        ("bert", ["BertForMaskedLM"], None),
        ("bert", ["BertModel"], None),
        ("gpt2", ["GPT2LMHeadModel"], None),
        ("bert", None, "model_type is missing, nor has it architectures; .* bert, gpt2"),
        ("bert", ["RobertaModel"], "model_type is missing and architectures is RobertaModel"),
        ("bert", ["BertGenerationEncoder"], "model_type is missing"),
    ],
)
def test_config_without_model_type(edit, kind, classes, message):
    folder = edit(kind, model_type=None, architectures=classes)
    if message is None:
        assert same(from_pretrained(folder), from_pretrained(GOLDEN / kind))
    else:
        with pytest.raises(ValueError, match=message):
            from_pretrained(folder)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("gelu_pytorch_tanh", "gelu_new"),
        ("gelu_fast", "gelu_new"),
        ("gelu_accurate", "gelu_new"),
        ("gelu_python", "gelu"),
    ],
)
def test_activations_by_another_name(edit, theirs, ours):
    assert from_pretrained(edit("bert", hidden_act=theirs)).config.activation == ours


def test_supported_values_are_listed_once(edit):
    with pytest.raises(ValueError, match=r"supported: 'gelu', 'gelu_new', 'relu'$"):
        from_pretrained(edit("bert", hidden_act="quick_gelu"))


@either
@pytest.mark.parametrize(
    "prefix", ["module.", "_orig_mod.", "0.auto_model.", "model.", "module._orig_mod.BODY.", "BODY.BODY."]
)
def test_wrapped_names(kind, prefix, edit):
    body = {"bert": "bert.", "gpt2": "transformer."}[kind]
    head = {"bert": "cls.predictions.bias", "gpt2": "lm_head.weight"}[kind]
    prefix = prefix.replace("BODY.", body)
    wrapper = prefix.removesuffix(body)
    extra = {wrapper + head: np.zeros(3, np.float32)}
    folder = edit(kind, lambda tensors: {prefix + name: tensor for name, tensor in tensors.items()} | extra)
    assert same(from_pretrained(folder), from_pretrained(GOLDEN / kind))


def test_names_that_torch_compile_put_inside(edit):
    folder = edit("bert", lambda ts: {n.replace("encoder.", "encoder._orig_mod."): t for n, t in ts.items()})
    assert same(from_pretrained(folder), from_pretrained(GOLDEN / "bert"))


def test_the_tensors_of_another_model_are_told_in_one_line(edit):
    folder = edit("bert", lambda tensors: {f"blocks.{n}.w": t for n, t in enumerate(tensors.values())})
    with pytest.raises(ValueError, match=r"weights do not belong to the model in config.json.* blocks\.0\.w") as error:
        from_pretrained(folder)
    assert "\n" not in str(error.value)


def test_many_problems_are_counted(edit):
    folder = edit("bert", num_hidden_layers=9)
    with pytest.raises(ValueError, match="do not fit") as error:
        from_pretrained(folder)
    lines = str(error.value).splitlines()
    assert len(lines) == 8
    assert lines[-1].strip() == f"and {6 * 16 - 6} more"


def test_a_vocabulary_padded_beyond_the_tokenizer_is_fine_and_one_too_short_is_not():
    tokenizer = train_tokenizer(["the sea"], "bert", 100)
    size = tokenizer.get_vocab_size()
    check_vocabulary(tokenizer, size + 7, "here")
    tokenizer.add_tokens(["<new>", "<newer>"])
    with pytest.raises(ValueError, match=rf"here: .* ids up to {size + 1} \('<newer>'\), .* {size} rows"):
        check_vocabulary(tokenizer, size, "here")


@pytest.mark.parametrize(
    ("capitals", "config", "keeps_case"),
    [
        (True, {"do_lower_case": False}, True),
        (True, None, True),
        (True, {}, True),
        (False, None, False),
        (False, {"do_lower_case": False}, True),
    ],
)
def test_vocab_txt_alone(tmp_path, capitals, config, keeps_case):
    words = ["The", "the", "wolf"] if capitals else ["the", "wolf", "\u4e00", "1", "##s"]
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    if config is not None:
        (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer", **config}))
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.encode("the wolf").tokens == ["[CLS]", "the", "wolf", "[SEP]"]
    the = ("The" if capitals else "[UNK]") if keeps_case else "the"
    assert tokenizer.encode("The wolf").tokens == ["[CLS]", the, "wolf", "[SEP]"]
