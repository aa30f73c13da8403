"""What moves the weights of a fit: Muon where networks begin from nothing, AdamW where they know something already."""

from __future__ import annotations

from typing import Any

import keras

# Neither shrunk nor made orthogonal: they are no maps from inputs to outputs.
UNDECAYED = ["bias", "gamma", "beta", "frequencies", "phases", "scales"]


class Muon(keras.optimizers.Muon):
    """Muon (Jordan et al. 2024; scaled as Liu et al. 2025, arXiv:2502.16982) for dense layers and for convolutions.

    Keras leaves convolutions to AdamW; here their kernels are matrices of (side * side * channels, filters).
    All that is no matrix, narrow heads and embeddings go by AdamW at the same rate.
    """

    NARROW = 8
    # Times as many rows as columns, from which the iteration is done on the small matrix.
    TALL = 2

    def _should_use_adamw(self, variable: Any) -> bool:
        if len(variable.shape) == 4 and min(variable.shape[2:]) >= self.NARROW:
            return False
        return bool(super()._should_use_adamw(variable))

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        self.assign_add(m, gradient + m * (self.momentum - 1))
        update = gradient + self.momentum * m if self.nesterov else m
        matrix = keras.ops.reshape(update, (-1, variable.shape[-1]))
        step = self.lr_adjust(lr * self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        self.assign_sub(variable, keras.ops.reshape(step, variable.shape))

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """As Keras has it; for tall matrices (rows, columns) at less than half the time.

        Each iterate is the first one times a polynomial of its Gram matrix, which is (columns, columns).
        """
        if x.shape[0] < self.TALL * x.shape[1]:
            return super().zeropower_via_newtonschulz5(x, steps)
        x = x / (keras.ops.norm(x) + 1e-7)
        gram, factor = keras.ops.transpose(x) @ x, keras.ops.eye(x.shape[1], dtype=x.dtype)
        for _ in range(steps):
            now = self.muon_a * keras.ops.eye(x.shape[1], dtype=x.dtype) + self.muon_b * gram
            now += self.muon_c * (gram @ gram)
            factor, gram = now @ factor, now @ gram @ now
        return x @ factor


def make_optimizer(name: str, rate: float, decay: float) -> keras.optimizers.Optimizer:
    """`muon` or `adamw`, with weight decay on kernels and embeddings alone."""
    if name == "muon":
        made = Muon(rate, weight_decay=decay, adam_weight_decay=decay, exclude_layers=UNDECAYED)
    else:
        made = keras.optimizers.AdamW(rate, weight_decay=decay, clipnorm=1.0)
    made.exclude_from_weight_decay(var_names=UNDECAYED)
    return made
