"""What moves the weights of a fit."""

from __future__ import annotations

import keras

# Neither shrunk nor made orthogonal: they are no maps from inputs to outputs.
UNDECAYED = ["bias", "gamma", "beta", "frequencies", "phases", "scales"]


def make_optimizer(name: str, rate: float, decay: float) -> keras.optimizers.Optimizer:
    """`muon` (Jordan et al. 2024; Liu et al. 2025, arXiv:2502.16982) or `adamw`; weights decay where they are maps."""
    if name == "muon":
        made = keras.optimizers.Muon(rate, weight_decay=decay, adam_weight_decay=decay, exclude_layers=UNDECAYED)
    else:
        made = keras.optimizers.AdamW(rate, weight_decay=decay, clipnorm=1.0)
    made.exclude_from_weight_decay(var_names=UNDECAYED)
    return made
