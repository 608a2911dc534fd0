"""The training step as CUDA graphs: recorded once, then replayed without Python.

A step of networks this small is about a hundred kernels of a few microseconds each, and a GPU waits
for Python between them. A recording is launched as a whole.

Everything that changes from step to step must lie in tensors on the GPU: a recording holds their
addresses, and plain numbers as they were. Chance comes from `latents`, from the augmentation's
stream and, for dropout, from the global one; each replay moves them on. Anywhere but on CUDA, in
one of several processes, and where recording fails, the step runs as it is written.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor
from tqdm import tqdm

from lab.device import processes
from lab.training.state import TrainingState

# Real images (B, C, H, W) and their labels (B,), or None for these -> figures.
Step = Callable[[Tensor, Tensor | None], Tensor]

WARM_UP = 3  # steps of a kind made plainly first: CUDA's libraries choose and load their kernels


class GraphedStep:
    """A step that is replayed where it can be.

    step: takes real images (B, C, H, W), their labels (B,) or None, and whether the penalty is due;
    what it does must depend on nothing else that is not a tensor. recorded: one recording with the
    penalty and one without.
    """

    def __init__(self, step: Callable[..., Tensor], state: TrainingState) -> None:
        self.step, self.training = step, state
        self.possible = state.device.type == "cuda" and processes() == 1
        dropouts = torch.cuda.default_generators if self.possible else [torch.default_generator]
        dropout = dropouts[state.device.index or 0]
        self.streams = (state.latents, state.augmentation.stream, dropout)
        self.made: Counter[bool] = Counter()
        self.recorded: dict[bool, Step] = {}

    def __call__(self, real: Tensor, labels: Tensor | None, penalised: bool) -> Tensor:
        """Make one step, by replay or plainly. Its figures hold until the next."""
        step = partial(self.step, penalised=penalised)
        self.made[penalised] += 1
        if not self.possible or self.made[penalised] <= WARM_UP:
            return step(real, labels)
        if penalised in self.recorded:
            return self.recorded[penalised](real, labels)
        try:
            with self._other_chance():
                replay = record(step, real, labels)
        except RuntimeError as error:
            self._give_up(str(error).splitlines()[0])
        else:
            figures, is_good = self._tried_out(replay, step, real, labels)
            if is_good:
                self.recorded[penalised] = replay
            else:
                self._give_up("a replayed step did something else than the step")
            return figures
        return step(real, labels)  # here, where the error no longer holds the recording's memory

    def _tried_out(
        self, replay: Step, step: Step, real: Tensor, labels: Tensor | None
    ) -> tuple[Tensor, bool]:
        """Make the step by replay, take it back, and make it plainly: its figures.

        And whether both did the same, and drew from the same streams.
        """
        before, chance = [part.clone() for part in self.training.tensors()], self._chance()
        replayed = [part.clone() for part in (replay(real, labels), *self.training.tensors())]
        drawn = self._have_moved(chance)
        for part, was in zip(self.training.tensors(), before, strict=True):
            part.copy_(was)
        self._set_chance(chance)
        figures = step(real, labels)
        is_good = drawn == self._have_moved(chance) and all(
            torch.allclose(one, two, rtol=1e-3, atol=1e-4)
            for one, two in zip(replayed, (figures, *self.training.tensors()), strict=True)
        )
        return figures, is_good

    def _give_up(self, reason: str) -> None:
        self.possible = False
        tqdm.write(f"note: steps are not replayed as CUDA graphs, which would be faster ({reason})")

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


def record(step: Step, real: Tensor, labels: Tensor | None) -> Step:
    """Record the kernels of `step`, which do not run yet; RuntimeError where CUDA refuses."""
    graph = torch.cuda.CUDAGraph()
    # Not `real` yet: a recording that forgets its input shows.
    shown = torch.zeros_like(real)
    told = None if labels is None else torch.zeros_like(labels)
    torch.cuda.synchronize()
    stream = torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph):
            figures = step(shown, told)
    except RuntimeError:
        torch.cuda.set_stream(stream)  # a recording that fails may leave its own one current
        raise

    def replay(real: Tensor, labels: Tensor | None) -> Tensor:
        shown.copy_(real)
        if told is not None:
            told.copy_(labels)
        graph.replay()
        return figures

    return replay
