"""The training step as CUDA graphs: recorded once, then replayed without Python.

A step of networks this small is about a hundred kernels of a few microseconds each, and a GPU waits
for Python between them. A recording is launched as a whole.

Everything that changes from step to step must lie in tensors on the GPU: a recording holds their
addresses, and plain numbers as they were. Chance comes from `latents` and, for dropout, from the
global stream; each replay moves both on. Anywhere but on CUDA, and where recording fails, the
step runs as it is written.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from lab.checkpoint import Training

Step = Callable[[Tensor], Tensor]  # real images (B, 1, 28, 28) -> figures

WARM_UP = 3  # steps of a kind made plainly first: CUDA's libraries choose and load their kernels


class Replayed:
    """A step that is replayed where it can be.

    recorded: one recording for each kind of step; what a step does must depend on nothing else.
    """

    def __init__(self, step: Step, training: Training) -> None:
        self.step, self.training = step, training
        self.possible = training.device.type == "cuda"
        dropouts = torch.cuda.default_generators if self.possible else [torch.default_generator]
        self.streams = (training.latents, dropouts[training.device.index or 0])
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
            with self._other_chance():
                replay = record(self.step, real)
        except RuntimeError as error:
            self._give_up(str(error).splitlines()[0])
        else:
            return self._try_out(replay, real, kind)
        return self.step(real)  # here, where the error no longer holds the recording's memory

    def _try_out(self, replay: Step, real: Tensor, kind: Hashable) -> Tensor:
        """Make the step by replay, take it back, and make it plainly.

        A recording that does something else, or draws from other streams, is never used.
        """
        before, chance = [part.clone() for part in self._state()], self._chance()
        replayed = [part.clone() for part in (replay(real), *self._state())]
        drawn = self._have_moved(chance)
        for part, was in zip(self._state(), before, strict=True):
            part.copy_(was)
        self._set_chance(chance)
        figures = self.step(real)
        if drawn == self._have_moved(chance) and all(
            torch.allclose(one, two, rtol=1e-3, atol=1e-4)
            for one, two in zip(replayed, (figures, *self._state()), strict=True)
        ):
            self.recorded[kind] = replay
        else:
            self._give_up("a replayed step did something else than the step")
        return figures

    def _give_up(self, reason: str) -> None:
        self.possible = False
        tqdm.write(f"note: steps are not replayed as CUDA graphs, which would be faster ({reason})")

    def _state(self) -> list[Tensor]:
        """All that a step changes, but for chance."""
        networks = (self.training.generator, self.training.discriminator)
        optimizers = (self.training.optimizer_g, self.training.optimizer_d)
        return [
            *(part for network in networks for part in network.state_dict().values()),
            *(part for adam in optimizers for part in (*adam.means, *adam.squares, adam.steps)),
        ]

    @contextlib.contextmanager
    def _other_chance(self) -> Iterator[None]:
        """Within it the streams stand elsewhere: a recording that keeps what it drew shows."""
        chance = self._chance()
        for stream in self.streams:
            stream.manual_seed(0)
        try:
            yield
        finally:
            self._set_chance(chance)

    def _chance(self) -> list[Tensor]:
        return [stream.get_state() for stream in self.streams]

    def _set_chance(self, chance: list[Tensor]) -> None:
        for stream, state in zip(self.streams, chance, strict=True):
            stream.set_state(state)

    def _have_moved(self, chance: list[Tensor]) -> list[bool]:
        """Which streams no longer stand where they did."""
        return [not torch.equal(*states) for states in zip(self._chance(), chance, strict=True)]


def record(step: Step, real: Tensor) -> Step:
    """Record the kernels of `step`, which do not run yet; RuntimeError where CUDA refuses."""
    graph = torch.cuda.CUDAGraph()
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
