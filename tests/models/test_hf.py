"""Hugging Face folders: torch's hidden states, bit-identical round trips, one error that lists all problems.

The golden files come from torch and transformers (`make_golden.py`); tests marked `parity` run them live.
"""

import json
import shutil
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from llmrec_jax.models import from_pretrained, save_pretrained
from llmrec_jax.models.architectures import ENCODERS, new_encoder
from llmrec_jax.models.layers import pool
from tests.models.golden_folders import GOLDEN, KINDS, arrays, either, same


@either
def test_golden_hidden_states(kind):
    encoder = from_pretrained(GOLDEN / kind)
    assert isinstance(encoder, KINDS[kind])
    golden = np.load(GOLDEN / kind / "hidden.npz")
    hidden_BLD, mask_BL = encoder(golden["token_ids"], golden["mask"]), golden["mask"].astype(bool)
    np.testing.assert_allclose(hidden_BLD[mask_BL], golden["hidden"][mask_BL], atol=1e-4)


def test_golden_minilm(minilm):
    golden = np.load(GOLDEN / "minilm.npz")
    hidden_BLD, mask_BL = from_pretrained(minilm)(golden["token_ids"], golden["mask"]), golden["mask"].astype(bool)
    np.testing.assert_allclose(hidden_BLD[..., :8][mask_BL], golden["hidden"][mask_BL], atol=1e-4)
    np.testing.assert_allclose(pool(hidden_BLD, mask_BL, "mean"), golden["mean"], atol=1e-4)


@either
def test_in_and_out_again_is_bit_identical(kind, tmp_path):
    encoder = from_pretrained(str(GOLDEN / kind), dtype="bfloat16", remat="none")
    save_pretrained(encoder, tmp_path / "new" / "folder")
    theirs, ours = (load_file(folder / "model.safetensors") for folder in (GOLDEN / kind, tmp_path / "new" / "folder"))
    assert {name: tensor.tobytes() for name, tensor in ours.items()} == {n: t.tobytes() for n, t in theirs.items()}
    again = from_pretrained(tmp_path / "new" / "folder", dtype="bfloat16", remat="none")
    assert again.config == encoder.config
    assert same(again, encoder)


@either
def test_a_new_encoder_is_saved_over_an_old_one(kind, tmp_path):
    (tmp_path / "tokenizer.json").write_text("{}")
    config = ENCODERS[kind].config(vocab_size=9, max_positions=5, width=4, num_layers=2, num_heads=1, activation="relu")
    for seed in (0, 1):
        encoder = new_encoder(config, nnx.Rngs(seed))
        save_pretrained(encoder, tmp_path)
    assert same(from_pretrained(tmp_path), encoder)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]


def test_pooler_is_optional(edit):
    folder = edit("bert", lambda tensors: {n: t for n, t in tensors.items() if not n.startswith("pooler.")})
    assert from_pretrained(folder).pooler is None
    assert from_pretrained(GOLDEN / "bert").pooler is not None


@either
def test_prefix_old_names_heads_and_buffers(kind, edit):
    prefix = {"bert": "bert.", "gpt2": "transformer."}[kind]
    extra = {
        "bert": ["bert.embeddings.position_ids", "cls.predictions.bias", "cls.seq_relationship.weight"],
        "gpt2": ["lm_head.weight", "transformer.h.0.attn.bias", "transformer.h.2.attn.masked_bias"],
    }[kind]

    def old(name):
        return prefix + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")

    folder = edit(kind, lambda ts: {old(n): t for n, t in ts.items()} | {n: np.zeros(3, np.int64) for n in extra})
    assert same(from_pretrained(folder), from_pretrained(GOLDEN / kind))


@either
def test_shards(kind, edit):
    folder = edit(kind)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    weight_map = {name: f"model-{i % 2 + 1:05}-of-00002.safetensors" for i, name in enumerate(tensors)}
    for shard in set(weight_map.values()):
        save_file({n: tensors[n] for n, s in weight_map.items() if s == shard}, folder / shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    assert same(from_pretrained(folder), from_pretrained(GOLDEN / kind))
    (folder / shard).unlink()
    with pytest.raises(ValueError, match=shard):
        from_pretrained(folder)


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_any_float_becomes_float32(dtype, edit):
    folder = edit("gpt2", lambda tensors: {name: tensor.astype(dtype) for name, tensor in tensors.items()})
    expected = jax.tree.map(lambda x: x.astype(dtype).astype(np.float32), arrays(from_pretrained(GOLDEN / "gpt2")))
    jax.tree.map(np.testing.assert_array_equal, arrays(from_pretrained(folder)), expected)


def test_one_error_names_everything(edit):
    def spoil(tensors):
        del tensors["h.1.ln_1.bias"], tensors["h.2.attn.c_attn.weight"]
        tensors["h.0.mlp.c_fc.bias"] = np.zeros(65, np.float32)
        tensors["h.0.ln_2.bias"] = np.zeros(16, np.int32)
        tensors["h.3.ln_1.bias"] = np.zeros(16, np.float32)
        tensors["transformer.wpe.weight"] = tensors["wpe.weight"]
        return tensors

    with pytest.raises(ValueError, match="do not fit") as error:
        from_pretrained(edit("gpt2", spoil))
    lines = [line.strip() for line in str(error.value).splitlines()[1:]]
    assert sorted(lines) == [
        "h.0.ln_2.bias: dtype I32, expected one of F64, F32, F16, BF16",
        "h.0.mlp.c_fc.bias: shape (65,), expected (64,)",
        "h.1.ln_1.bias: missing, expected (16,)",
        "h.2.attn.c_attn.weight: missing, expected (16, 48)",
        "h.3.ln_1.bias: unexpected, (16,)",
        "wpe.weight: stored twice, as transformer.wpe.weight and wpe.weight",
    ]


@pytest.mark.parametrize(
    ("kind", "config", "message"),
    [
        ("bert", {"position_embedding_type": "relative_key"}, "position_embedding_type is 'relative_key'"),
        ("bert", {"hidden_act": "silu"}, "hidden_act is 'silu'"),
        ("bert", {"hidden_size": "wide"}, "Expected `int`, got `str`"),
        ("bert", {"num_attention_heads": 3}, "width 16 is not divisible by num_heads 3"),
        ("gpt2", {"activation_function": "silu"}, "activation_function is 'silu'"),
        ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
        ("gpt2", {"model_type": "t5"}, "model_type is 't5'; known: bert, gpt2"),
    ],
)
def test_config_that_we_do_not_implement(kind, config, message, edit):
    with pytest.raises(ValueError, match=message):
        from_pretrained(edit(kind, **config))


def test_broken_files(edit, tmp_path):
    folder = edit("bert")
    content = (folder / "model.safetensors").read_bytes()
    for broken in (content[:-5], b""):
        (folder / "model.safetensors").write_bytes(broken)
        with pytest.raises(ValueError, match=r"model\.safetensors: not a readable safetensors file"):
            from_pretrained(folder)
    (folder / "config.json").write_text("[1")
    with pytest.raises(ValueError, match=r"config\.json: not a readable JSON object"):
        from_pretrained(folder)


@pytest.fixture(scope="module")
def torch_hidden():
    """A function: hidden states that transformers computes from a folder."""
    torch = pytest.importorskip("torch", reason="no torch: install the [parity] extra")
    transformers = pytest.importorskip("transformers")

    def hidden(folder, ids_BL, mask_BL):
        kind = json.loads((folder / "config.json").read_text())["model_type"]
        model_type = {"bert": transformers.BertModel, "gpt2": transformers.GPT2Model}[kind]
        model, info = model_type.from_pretrained(folder, output_loading_info=True)
        wrong = info["missing_keys"] | info["unexpected_keys"] | info["mismatched_keys"]
        assert {name for name in wrong if not name.startswith("pooler.")} <= {"embeddings.position_ids"}
        positions_BL = np.maximum(np.cumsum(mask_BL, axis=1) - 1, 0)
        inputs = {"input_ids": ids_BL, "attention_mask": mask_BL.astype(np.int64), "position_ids": positions_BL}
        with torch.no_grad():
            inputs = {name: torch.tensor(array) for name, array in inputs.items()}
            return model.eval()(**inputs).last_hidden_state.numpy()

    return hidden


def random_rows(vocab_size, length):
    """Token ids with padding on both sides, of every length."""
    rng = np.random.default_rng(5)
    start_B, count_B = rng.integers(0, length // 2, 8)[:, None], rng.integers(1, length // 2, 8)[:, None]
    mask_BL = (np.arange(length)[None] >= start_B) & (np.arange(length)[None] < start_B + count_B)
    return rng.integers(0, vocab_size, (8, length)), mask_BL


@pytest.mark.parity
@either
def test_what_we_save_runs_in_torch(kind, torch_hidden, tmp_path):
    config = ENCODERS[kind].config(vocab_size=50, max_positions=20, width=32, num_layers=4, num_heads=4)
    encoder = new_encoder(config, nnx.Rngs(0))
    save_pretrained(encoder, tmp_path)
    ids_BL, mask_BL = random_rows(50, 20)
    expected_BLD = torch_hidden(tmp_path, ids_BL, mask_BL)
    np.testing.assert_allclose(encoder(ids_BL, mask_BL)[mask_BL], expected_BLD[mask_BL], atol=1e-4)


@pytest.mark.parity
def test_minilm_against_torch(minilm, torch_hidden, tmp_path):
    ids_BL, mask_BL = random_rows(30522, 60)
    encoder = from_pretrained(minilm)
    expected_BLD = torch_hidden(minilm, ids_BL, mask_BL)
    np.testing.assert_allclose(encoder(ids_BL, mask_BL)[mask_BL], expected_BLD[mask_BL], atol=1e-4)
    save_pretrained(encoder, tmp_path)
    np.testing.assert_array_equal(torch_hidden(tmp_path, ids_BL, mask_BL), expected_BLD)


def test_files_are_replaced_whole(tmp_path, monkeypatch):
    shutil.copytree(GOLDEN / "bert", tmp_path, dirs_exist_ok=True)
    before = (tmp_path / "model.safetensors").read_bytes()
    encoder = new_encoder(from_pretrained(tmp_path).config, nnx.Rngs(0))

    def full(path, content):
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space left"):
        save_pretrained(encoder, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before
