"""Adam (Kingma and Ba 2015, algorithm 1), over all weights of a network in one call.

The arithmetic is torch's own fused kernel: torch.optim.Adam(fused=True) computes the same, bit for
bit. It is called here without torch's wrapper, whose first use loads torch's compiler (150 MB and a
second), and whose bookkeeping takes a twentieth of a step of small networks.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

EPSILON = 1e-8


class Adam:
    """Moves `weights` by their gradients. `rate` may be changed between steps.

    steps: how many were made, float32 () on the weights' device.
    """

    def __init__(self, weights: Iterable[Tensor], rate: float, betas: tuple[float, float]) -> None:
        self.weights = list(weights)
        self.betas = betas
        device = self.weights[0].device
        self.steps = torch.zeros((), device=device)
        # On a GPU the kernel reads it there: a recorded step (lab/graphs.py) sees it change.
        self.rate_on_gpu = torch.zeros((), device=device) if device.type == "cuda" else None
        self.rate = rate
        self.means = [torch.zeros_like(weight) for weight in self.weights]
        self.squares = [torch.zeros_like(weight) for weight in self.weights]

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self._rate

    @rate.setter
    def rate(self, rate: float) -> None:
        self._rate = rate
        if self.rate_on_gpu is not None:
            self.rate_on_gpu.fill_(rate)

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for weight in self.weights:
            weight.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """One update; every weight must have its gradient."""
        self.steps += 1
        torch._fused_adam_(
            self.weights,
            [weight.grad for weight in self.weights],
            self.means,
            self.squares,
            [],  # amsgrad is off
            [self.steps] * len(self.weights),
            lr=self.rate if self.rate_on_gpu is None else self.rate_on_gpu,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def state(self) -> dict[int, dict[str, Tensor]]:
        """Count and moments of each weight, as torch.optim.Adam names them; not always copies."""
        return {
            index: {
                "step": self.steps.clone(),
                "exp_avg": mean.contiguous(),
                "exp_avg_sq": square.contiguous(),
            }
            for index, (mean, square) in enumerate(zip(self.means, self.squares, strict=True))
        }

    def load_state(self, state: dict[int, dict[str, Tensor]]) -> None:
        """Take over what `state` gave. ValueError if it is of other weights, or not finite."""
        own = self.state()
        if set(state) != set(own):
            raise ValueError("the optimizer's state belongs to another network")
        for index, moments in own.items():
            if set(state[index]) != set(moments):
                raise ValueError(f"the optimizer's state of weight {index} is not Adam's")
            for name, tensor in moments.items():
                given = state[index][name]
                fits = given.shape == tensor.shape and given.dtype == torch.float32
                sane = fits and given.is_contiguous() and torch.isfinite(given).all()
                if not sane or (name == "exp_avg_sq" and (given < 0).any()):
                    raise ValueError(f"the optimizer's {name} of weight {index} is damaged")
        counts = {float(moments["step"]) for moments in state.values()}
        if len(counts) > 1 or min(counts) < 0 or min(counts) % 1:
            raise ValueError("the optimizer's count of steps is damaged")
        self.steps.copy_(state[0]["step"])
        for index, (mean, square) in enumerate(zip(self.means, self.squares, strict=True)):
            mean.copy_(state[index]["exp_avg"])
            square.copy_(state[index]["exp_avg_sq"])
