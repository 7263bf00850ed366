"""Writes the golden files with torch and transformers; run by hand: python tests/models/make_golden.py MINILM

MINILM is a Hugging Face folder of all-MiniLM-L6-v2. All parameters of the tiny models are random, including biases and
layer norms: with transformers' own initialisation, swapped biases would not be noticed.
"""

import sys
from pathlib import Path

import numpy as np
import torch
import transformers

GOLDEN = Path(__file__).parent / "golden"
TITLES = [
    "Toy Story (1995)",
    "Pride and Prejudice",
    "Team Fortress 2",
    "Prada Candy By Prada Eau De Parfum Spray 1.7 Oz For Women",
]


def hidden_states(model: torch.nn.Module, ids_BL: np.ndarray, mask_BL: np.ndarray) -> np.ndarray:
    """The last hidden states, with positions that count the unmasked tokens as ours do."""
    positions_BL = np.maximum(np.cumsum(mask_BL, axis=1) - 1, 0)
    with torch.no_grad():
        inputs = {"input_ids": ids_BL, "attention_mask": mask_BL, "position_ids": positions_BL}
        return model(**{name: torch.tensor(array) for name, array in inputs.items()}).last_hidden_state.numpy()


def tiny_models() -> dict[str, torch.nn.Module]:
    """A BERT and a GPT-2 of three layers with random parameters."""
    torch.manual_seed(0)
    bert = transformers.BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
    )
    gpt2 = transformers.GPT2Config(
        vocab_size=40, n_embd=16, n_layer=3, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0
    )
    models = {"bert": transformers.BertModel(bert).eval(), "gpt2": transformers.GPT2Model(gpt2).eval()}
    with torch.no_grad():
        for model in models.values():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    return models


def padded_inputs() -> tuple[np.ndarray, np.ndarray]:
    """Rows without padding, padded on the right, padded on the left, and of one token."""
    ids_BL = np.random.default_rng(0).integers(0, 40, (4, 10))
    mask_BL = np.ones((4, 10), np.int64)
    mask_BL[1, 6:] = mask_BL[2, :3] = mask_BL[3, 1:] = 0
    return ids_BL, mask_BL


def main(minilm: str) -> None:
    """Write a folder for each tiny model and one file for MiniLM."""
    ids_BL, mask_BL = padded_inputs()
    for name, model in tiny_models().items():
        model.save_pretrained(GOLDEN / name)
        hidden_BLD = hidden_states(model, ids_BL, mask_BL)
        np.savez_compressed(GOLDEN / name / "hidden.npz", token_ids=ids_BL, mask=mask_BL, hidden=hidden_BLD)
    tokens = transformers.AutoTokenizer.from_pretrained(minilm)(TITLES, padding=True, return_tensors="np")
    ids_BL, mask_BL = tokens["input_ids"], tokens["attention_mask"]
    hidden_BLD = hidden_states(transformers.BertModel.from_pretrained(minilm).eval(), ids_BL, mask_BL)
    mean_BD = (hidden_BLD * mask_BL[:, :, None]).sum(1) / mask_BL.sum(1)[:, None]
    np.savez_compressed(GOLDEN / "minilm.npz", token_ids=ids_BL, mask=mask_BL, hidden=hidden_BLD[..., :8], mean=mean_BD)


if __name__ == "__main__":
    main(sys.argv[1])
