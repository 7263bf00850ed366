"""Domain-adaptation losses: distances between the feature distributions of domains, and other losses that align them.

Pure functions that return a float32 scalar to minimize (transforms, weights and helpers say what else they return).
`losses.methods` makes them into terms of the objective. Statistics run over the rows given, so pass the global batch,
not one device's shard. All work under `jit`, and equal one device's result when their arrays are sharded.

Most take one array with two masks, `fn(rows_ND, is_source_N, is_target_N)`; `coral`, `mk_mmd` and `dann` take two
arrays, each with an optional mask, and one array may be passed twice. Those of several domains take the domain of each
row and a mask, those of predictions the target's logits and a mask. Rows that no mask uses may hold any values,
including NaN, and change neither value nor gradient. Where a side has too few rows (two for a distance or a statistic
of predictions, one for a classifier), the loss and its gradient are 0.

  moments        coral, afn                                                  features
  kernels        mk_mmd, mk_mmd_within, joint_mmd                            features (of several layers)
  transport      sinkhorn, sliced_wasserstein                                features (and directions)
  adversarial    gradient_reversal, dann, cdan                               a discriminator's logits
  critics        wdgrl, mdd                                                  a critic; a second head's logits
  noise          less_noise                                                  a distance
  predictions    information_maximization, mcc, bnm                          logits over a probe of items
  contrastive    multi_domain_contrastive, llm_recg                          user and item vectors of several domains
  reweighting    density_ratio                                               a discriminator's logits
  transforms     domain_normalization, domain_whitening                      features; parameters per domain

Features are expected with entries of about size one, as `losses.methods` passes them. The values are those of the
papers and differ in size. With 128 rows a side, width 64, the source standard normal, and the target

                        like the source     shifted by 0.5      scaled by 2
  coral                 0.004               0.004               0.064
  mk_mmd                0.001               0.055               0.11
  sinkhorn              3.4                 19                  18
  sliced_wasserstein    0.05                0.32                1.0

For 128 users and 100 items whose logits are standard normal: information_maximization -0.48, mcc 0.99, bnm -0.11.

Shape letters: those of `types`, I being the items of the probe; B rows of a side (the two may differ), N rows of all
sides, D width of the features, G domains.
"""

from llmrec_jax.losses.adaptation.adversarial import (
    cdan,
    cdan_features,
    dann,
    dann_schedule,
    domain_accuracy,
    gradient_reversal,
    random_projections,
)
from llmrec_jax.losses.adaptation.contrastive import llm_recg, multi_domain_contrastive
from llmrec_jax.losses.adaptation.critics import gradient_penalty, mdd, random_pairs, wdgrl, wdgrl_distance
from llmrec_jax.losses.adaptation.kernels import joint_mmd, mk_mmd, mk_mmd_within
from llmrec_jax.losses.adaptation.moments import afn, coral
from llmrec_jax.losses.adaptation.noise import less_noise
from llmrec_jax.losses.adaptation.predictions import bnm, entropy, information_maximization, mcc
from llmrec_jax.losses.adaptation.reweighting import density_ratio
from llmrec_jax.losses.adaptation.transforms import (
    Moments,
    domain_moments,
    domain_normalization,
    domain_whitening,
    whitening_parameters,
)
from llmrec_jax.losses.adaptation.transport import random_directions, sinkhorn, sliced_wasserstein

__all__ = [
    "Moments",
    "afn",
    "bnm",
    "cdan",
    "cdan_features",
    "coral",
    "dann",
    "dann_schedule",
    "density_ratio",
    "domain_accuracy",
    "domain_moments",
    "domain_normalization",
    "domain_whitening",
    "entropy",
    "gradient_penalty",
    "gradient_reversal",
    "information_maximization",
    "joint_mmd",
    "less_noise",
    "llm_recg",
    "mcc",
    "mdd",
    "mk_mmd",
    "mk_mmd_within",
    "multi_domain_contrastive",
    "random_directions",
    "random_pairs",
    "random_projections",
    "sinkhorn",
    "sliced_wasserstein",
    "wdgrl",
    "wdgrl_distance",
    "whitening_parameters",
]
