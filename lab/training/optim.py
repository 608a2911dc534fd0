"""The optimizer, and the moving average of the generator's weights.

Adam (Kingma and Ba 2015, algorithm 1) is torch's own fused kernel: torch.optim.Adam(fused=True)
computes the same, bit for bit. It is called here without torch's wrapper, whose first use loads
torch's compiler (150 MB and a second), and whose bookkeeping takes a twentieth of a step of small
networks.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

EPSILON = 1e-8


class Adam:
    """Moves `weights` by their gradients. `lr`, the learning rate, may be changed between steps.

    steps: how many were made, float32 () on the weights' device.
    """

    def __init__(self, weights: Iterable[Tensor], lr: float, betas: tuple[float, float]) -> None:
        self.weights = list(weights)
        self.betas = betas
        device = self.weights[0].device
        self.steps = torch.zeros((), device=device)
        # On a GPU the kernel reads it there: a recorded step (cuda_graph.py) sees it change.
        self.lr_on_gpu = torch.zeros((), device=device) if device.type == "cuda" else None
        self.lr = lr
        self.means = [torch.zeros_like(weight) for weight in self.weights]
        self.squares = [torch.zeros_like(weight) for weight in self.weights]

    @property
    def lr(self) -> float:
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self._lr = lr
        if self.lr_on_gpu is not None:
            self.lr_on_gpu.fill_(lr)

    def zero_grad(self) -> None:
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
            lr=self.lr if self.lr_on_gpu is None else self.lr_on_gpu,
            beta1=self.betas[0],
            beta2=self.betas[1],
            weight_decay=0.0,
            eps=EPSILON,
            amsgrad=False,
            maximize=False,
        )

    def state_dict(self) -> dict[int, dict[str, Tensor]]:
        """Count and moments of each weight, as torch.optim.Adam names them; not always copies."""
        return {
            index: {
                "step": self.steps.clone(),
                "exp_avg": mean.contiguous(),
                "exp_avg_sq": square.contiguous(),
            }
            for index, (mean, square) in enumerate(zip(self.means, self.squares, strict=True))
        }

    def load_state_dict(self, state: dict[int, dict[str, Tensor]]) -> None:
        """Take over what `state_dict` gave. ValueError if it is of other weights, or not finite."""
        own = self.state_dict()
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


def ema_decay(most: float, updates: int) -> float:
    """The decay of a moving average after `updates` updates: it rises to `most` as these add up.

    (1 + n) / (10 + n), so that the average is over roughly the last tenth of the updates so far.
    With a constant decay it would be made of the initial weights for thousands of steps. The rule
    is that of `num_updates` in TensorFlow's ExponentialMovingAverage.
    """
    return min(most, (1 + updates) / (10 + updates))


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, decay: float) -> None:
    """ema <- decay * ema + (1 - decay) * network; running statistics are copied.

    The exponential moving average of the generator's weights: Yazici et al. 2019, "The unusual
    effectiveness of averaging in GAN training". The arithmetic is torch's; its AveragedModel would
    take 0.13 ms a step more, a sixtieth of a step on two cores, and on a GPU wait for it.
    """
    move = get_ema_multi_avg_fn(decay)
    move(list(ema.parameters()), list(network.parameters()), None)
    for copied, current in zip(ema.buffers(), network.buffers(), strict=True):
        copied.copy_(current)
