"""The training step as CUDA graphs: recorded once, then replayed without Python.

A step of networks this small is some two hundred kernels of a few microseconds each, and a GPU
waits for Python between them. A recording is launched as a whole.

Everything that changes from step to step must lie in tensors on the GPU: a recording holds their
addresses, and plain numbers as they were. Chance comes from `latents` and, for dropout, from the
global stream; each replay moves both on. Elsewhere than on CUDA, and where recording fails, the
step runs as it is written.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from lab.checkpoint import Training

Step = Callable[[Tensor], Tensor]  # real images (B, 1, 28, 28) -> figures

WARM_UP = 3  # steps of a kind made plainly first: CUDA's libraries choose and load their kernels


class Replayed:
    """A step that is replayed where it can be.

    recorded: one recording for each kind of step; what a step does must depend on nothing else.
    """

    def __init__(self, step: Step, training: Training) -> None:
        self.step, self.training = step, training
        self.possible = training.totals.is_cuda
        self.made: Counter[Hashable] = Counter()
        self.recorded: dict[Hashable, Step] = {}

    def __call__(self, real: Tensor, kind: Hashable) -> Tensor:
        """Make one step of this kind, by replay or plainly. Its figures hold until the next."""
        self.made[kind] += 1
        if not self.possible or self.made[kind] <= WARM_UP:
            return self.step(real)
        if kind in self.recorded:
            return self.recorded[kind](real)
        try:
            replay = record(self.step, real, self.training.latents)
        except RuntimeError as error:
            self._give_up(str(error).splitlines()[0])
        else:
            return self._try_out(replay, real, kind)
        return self.step(real)  # here, where the error no longer holds the recording's memory

    def _try_out(self, replay: Step, real: Tensor, kind: Hashable) -> Tensor:
        """Make the step by replay, take it back, and make it plainly.

        A recording that does something else is never used.
        """
        before, latents = [part.clone() for part in self._state()], self.training.latents
        drawn, chance = latents.get_state(), _global_chance(real)
        replayed = [part.clone() for part in (replay(real), *self._state())]
        for part, was in zip(self._state(), before, strict=True):
            part.copy_(was)
        latents.set_state(drawn)
        _set_global_chance(real, chance)
        figures = self.step(real)
        if all(
            torch.allclose(one, two, rtol=1e-3, atol=1e-4)
            for one, two in zip(replayed, (figures, *self._state()), strict=True)
        ):
            self.recorded[kind] = replay
        else:
            self._give_up("a replayed step did something else than the step")
        return figures

    def _give_up(self, reason: str) -> None:
        self.possible = False
        print(f"note: steps are not replayed as CUDA graphs, which would be faster ({reason})")

    def _state(self) -> list[Tensor]:
        """All that a step changes, but for chance."""
        networks = (self.training.generator, self.training.discriminator)
        optimizers = (self.training.optimizer_g, self.training.optimizer_d)
        return [
            *(part for network in networks for part in network.state_dict().values()),
            *(part for adam in optimizers for part in (*adam.means, *adam.squares, adam.steps)),
        ]


def _global_chance(real: Tensor) -> Tensor:
    """The state of the global stream, which dropout draws from."""
    return torch.cuda.get_rng_state(real.device) if real.is_cuda else torch.get_rng_state()


def _set_global_chance(real: Tensor, state: Tensor) -> None:
    if real.is_cuda:
        torch.cuda.set_rng_state(state, real.device)
    else:
        torch.set_rng_state(state)


def record(step: Step, real: Tensor, latents: torch.Generator) -> Step:
    """Record the kernels of `step`, which do not run yet; RuntimeError where CUDA refuses."""
    graph = torch.cuda.CUDAGraph()
    graph.register_generator_state(latents)
    shown = torch.zeros_like(real)  # not `real` yet: a recording that forgets its input shows
    torch.cuda.synchronize()
    stream = torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph):
            figures = step(shown)
    except RuntimeError:
        torch.cuda.set_stream(stream)  # a recording that fails may leave its own one current
        raise

    def replay(real: Tensor) -> Tensor:
        shown.copy_(real)
        graph.replay()
        return figures

    return replay
