"""The optimizers, and the exponential moving average (EMA) of the generator's weights.

Adam (Kingma and Ba 2015, algorithm 1) calls torch's fused kernel and computes the same as
torch.optim.Adam(fused=True), bit for bit. torch's own class loads torch.compile on first use
(150 MB and a second), and its bookkeeping takes a twentieth of a step of small networks.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

EPSILON = 1e-8
MOMENTUM = 0.95
# Coefficients of an odd polynomial that, applied five times, maps singular values in (0, 1] to
# about 1.
COEFFICIENTS = (3.4445, -4.7750, 2.0315)


class Adam:
    """Adam for `weights`. The learning rate `lr` may be changed between steps."""

    def __init__(self, weights: Iterable[Tensor], lr: float, betas: tuple[float, float]) -> None:
        self.weights = list(weights)
        self.betas = betas
        device = self.weights[0].device
        self.steps = torch.zeros((), device=device)  # updates so far
        # A tensor, because a CUDA graph (cuda_graph.py) would store a plain number.
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
        """One update; every weight must have a gradient."""
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
        """Step count and moments of each weight, as torch.optim.Adam names them; may be views."""
        return {
            index: {
                "step": self.steps.clone(),
                "exp_avg": mean.contiguous(),
                "exp_avg_sq": square.contiguous(),
            }
            for index, (mean, square) in enumerate(zip(self.means, self.squares, strict=True))
        }

    def load_state_dict(self, state: dict[int, dict[str, Tensor]]) -> None:
        """Load a `state_dict`. ValueError if it belongs to other weights or is not finite."""
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


class Muon:
    """Updates each weight by the orthogonal matrix nearest to its averaged gradient.

    Jordan et al. 2024, "Muon". All singular directions of a gradient then get a step of the same
    length, whereas Adam mostly follows the strongest ones. weights: (out, in, ...) of hidden
    layers; biases and the first and last layer need another optimizer. lr may be changed between
    steps.
    """

    def __init__(self, weights: Iterable[Tensor], lr: float) -> None:
        self.weights = list(weights)
        self.lr = lr
        self.means = [torch.zeros_like(weight) for weight in self.weights]

    @torch.no_grad()
    def step(self) -> None:
        """One update with Nesterov momentum; every weight must have a gradient."""
        for weight, mean in zip(self.weights, self.means, strict=True):
            mean.lerp_(weight.grad, 1 - MOMENTUM)
            ahead = weight.grad.lerp(mean, MOMENTUM)
            weight.sub_(orthogonalised(ahead.flatten(1)).view_as(weight), alpha=self.lr)


def orthogonalised(matrix: Tensor) -> Tensor:
    """The orthogonal matrix nearest to a matrix (M, N), approximately, times max(1, sqrt(M / N)).

    Newton-Schulz iteration X <- (a + b X X' + c (X X')^2) X. It runs on X X', the smaller matrix,
    and the accumulated factor is multiplied with X once.
    """
    rows, columns = matrix.shape
    wide = matrix if rows <= columns else matrix.T
    wide = wide / (wide.norm() + 1e-7)
    square = wide @ wide.T
    one = torch.eye(len(square), device=square.device)
    factor = one
    first, third, fifth = COEFFICIENTS
    for _ in range(5):
        step = first * one + third * square + fifth * square @ square
        factor = step @ factor
        square = step @ square @ step
    wide = factor @ wide
    return max(1, rows / columns) ** 0.5 * (wide if rows <= columns else wide.T)


def ema_decay(most: float, updates: int) -> float:
    """The decay of the moving average after `updates` updates: min(most, (1 + n) / (10 + n)).

    The average then covers roughly the last tenth of the updates so far. With a constant decay the
    initial weights would dominate it for thousands of steps. TensorFlow's
    ExponentialMovingAverage(num_updates=n) has the same rule.
    """
    return min(most, (1 + updates) / (10 + updates))


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, decay: float) -> None:
    """ema <- decay * ema + (1 - decay) * network; batch-norm statistics are copied.

    Yazici et al. 2019, "The unusual effectiveness of averaging in GAN training". torch's
    AveragedModel would take 0.13 ms more per step, a sixtieth of a step on two cores, and would
    make a GPU wait.
    """
    update = get_ema_multi_avg_fn(decay)
    update(list(ema.parameters()), list(network.parameters()), None)
    for copied, current in zip(ema.buffers(), network.buffers(), strict=True):
        copied.copy_(current)
