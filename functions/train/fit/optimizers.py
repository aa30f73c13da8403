"""Makes the optimizer of a fit."""

from __future__ import annotations

import keras

# Without weight decay and, under Muon, without orthogonalisation: these are not matrices from inputs to outputs.
EXCLUDED = ["bias", "gamma", "beta", "frequencies", "phases", "scales"]


def make_optimizer(name: str, rate: float, decay: float) -> keras.optimizers.Optimizer:
    """`muon` (Jordan et al. 2024; Liu et al. 2025, arXiv:2502.16982) or `adamw`; only weight matrices decay."""
    if name == "muon":
        optimizer = keras.optimizers.Muon(rate, weight_decay=decay, adam_weight_decay=decay, exclude_layers=EXCLUDED)
    else:
        optimizer = keras.optimizers.AdamW(rate, weight_decay=decay, clipnorm=1.0)
    optimizer.exclude_from_weight_decay(var_names=EXCLUDED)
    return optimizer
