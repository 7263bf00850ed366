"""The fields of the recommender and of its loss; see `fields`."""

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The recommender: item tower (text vector to item vector) and user tower (history to user vector)."""

    item_features: Literal["text", "id", "text+id"] = "text"
    """text: item vectors come from the text alone, so new items work as well.
    id: from an embedding per item; new items cannot be recommended.
    text+id: their sum; a new item gets its text part."""
    text_map: Literal["trained", "fixed"] = "trained"
    """How a text vector becomes an item vector.
    trained: by a linear map and an MLP.
    fixed: its model.width largest principal components, L2-normalized; for encoder.mode=frozen.
    If it has fewer components than model.width, zeros fill the rest."""
    max_id_norm: float = 0.0
    """With item_features=text+id: the text part has norm 1, and the id part at most this norm; 0: no bounds.
    A small bound, such as 0.5, keeps items with few events near their texts."""
    start: Literal["random", "counts"] = "random"
    """Id embeddings and item biases before the first step.
    random: embeddings are random, with text zero; biases are zero.
    counts: from co-purchase and popularity in the events that are trained on, so that training starts at a k-NN."""
    score: Literal["cosine", "dot"] = "cosine"
    """cosine: of the user vector and the item vector.
    dot: their dot product; with item_features=id, loss.temperature=1 is usual, and training needs many more steps."""
    item_bias: bool = False
    """Add a bias per item to the score; 0 for items without training events."""
    user_tower: Literal["transformer", "ligr", "hstu", "bert4rec", "mean"] = "transformer"
    """transformer: pre-norm blocks with softmax attention and an MLP, as in GPT-2 and SASRec.
    ligr: the same with gated residual connections and SwiGLU, as in eSASRec.
    hstu: pointwise SiLU attention with gated output and biases for positions and, where there are any, times.
    bert4rec: bidirectional blocks that predict masked items of the history; needs recency_mean=false.
    mean: no blocks; the user vector is the recency-weighted mean."""
    mask_rate: float = 0.2
    """The probability that user_tower=bert4rec masks an item of a history; it always masks the last one."""
    recency_mean: bool = True
    """Add the recency-weighted mean of the history's item vectors to the output of the blocks.
    false: the output of the blocks alone, as in SASRec."""
    width: int = 64
    """Width of item and user vectors."""
    num_layers: int = 2
    """Blocks of the user tower."""
    num_heads: int = 2
    """Attention heads of the user tower's blocks."""
    dropout: float = 0.2
    """Dropout rate of the user tower."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Dtype in which encoder and user tower compute; parameters stay float32."""


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """The recommendation loss."""

    ranking: str = "in_batch"
    """A name in llmrec_jax.losses.objective.RANKING.
    softmax: exact cross entropy over all items of the domain.
    sampled_softmax: over the target and loss.negatives items sampled uniformly, with the logQ correction.
    gbce: binary cross entropy of the target and of loss.negatives sampled items, calibrated by loss.calibration.
    in_batch: over the items of the batch, with the logQ correction for their sampling frequency.
    Where a trained encoder makes encoding the whole catalogue each step too slow, take in_batch or few negatives."""
    negatives: int = 512
    """Negatives that sampled_softmax and gbce sample per step from each domain, or all items of a smaller domain.
    All predictions of the domain share them. Their texts are encoded too, and adapt.level=item aligns them too."""
    calibration: float = 0.75
    """The t of gbce, from 0, plain binary cross entropy, to 1, which corrects for the sampling of negatives in full.
    Without the correction, few negatives make the model overestimate probabilities."""
    temperature: float = 0.07
    """Scores are divided by this; a lower temperature gives a sharper distribution."""
    mask_history: bool = False
    """With ranking=softmax: the items of a history, except the next one, are masked in the softmax.
    Recommendations exclude the history as well."""
    block_size: int = 2048
    """Items that the softmax loss scores at a time; changes memory and speed, not the loss."""
    logit_adjustment: float = 0.0
    """With a softmax loss: add this times log(share of the item in its domain's training events) to scores in training.
    1: popularity is accounted for in the loss, not by the model's scores, so rare items rank higher.
    0: off. Expect more hits on rare items and fewer on popular ones."""
    focal: float = 0.0
    """With a softmax loss: the gamma of the focal loss, which multiplies each loss by (1 - p)^gamma.
    p is the predicted probability of the item, so confident predictions count less. 0: off."""
    propensity: float = 0.0
    """The alpha of inverse-propensity weights: a prediction counts (share of its item in the training events)^-alpha.
    Weights are clipped at 10 times their mean and have mean 1 within a domain. 0: off, all count the same.
    1: all items count the same, as far as the clipping allows; values between are compromises."""
    domain_weights: Literal["rows", "group_dro"] = "rows"
    """How much each domain counts in the loss.
    rows: the loss is the mean over all source predictions plus that over the target's.
    group_dro: a weighted mean over the domains, in which the weight of a domain with a higher loss rises.
    One domain may take all the weight: losses are higher in larger catalogues."""
    domain_step_size: float = 0.01
    """The eta of group_dro: each step multiplies a domain's weight by exp(eta * its loss), and normalizes.
    The weights are logged as weight/ranking/source_0 and so on."""
