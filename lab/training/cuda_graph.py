"""The training step as CUDA graphs, which are recorded once and then replayed without Python.

A step of such small networks launches about a hundred kernels of a few microseconds each, and the
GPU waits for Python between them. A graph launches them all at once.

A graph stores the addresses of its tensors and the values of plain numbers, so everything that
changes from step to step must be a tensor on the GPU. Replaying advances the random generators used
for latents, augmentation and dropout. The step runs without graphs on other devices, with several
processes, and where recording fails.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

import torch
from torch import Tensor

from lab.device import processes
from lab.text import print_line
from lab.training.state import TrainingState

# Real images (B, C, H, W) and their labels (B,), or None -> figures of the step.
Step = Callable[[Tensor, Tensor | None], Tensor]

WARM_UP = 3  # steps before recording, in which CUDA's libraries choose and load their kernels


class GraphedStep:
    """A training step that is replayed as a CUDA graph where possible.

    step: takes real images (B, C, H, W), their labels (B,) or None, and whether to add the gradient
    penalty; it must depend on nothing else that changes and is not a tensor.
    """

    def __init__(self, step: Callable[..., Tensor], state: TrainingState) -> None:
        self.step, self.training = step, state
        self.enabled = state.device.type == "cuda" and processes() == 1
        index = state.device.index or 0
        dropout = torch.cuda.default_generators[index] if self.enabled else torch.default_generator
        self.generators = (state.latents, state.augmentation.stream, dropout)
        self.calls: Counter[bool] = Counter()
        self.recorded: dict[bool, Step] = {}  # with the penalty and without

    def __call__(self, real: Tensor, labels: Tensor | None, penalised: bool) -> Tensor:
        """Make one step. The figures that it returns are overwritten by the next step."""
        step = partial(self.step, penalised=penalised)
        self.calls[penalised] += 1
        if not self.enabled or self.calls[penalised] <= WARM_UP:
            return step(real, labels)
        if penalised in self.recorded:
            return self.recorded[penalised](real, labels)
        replay, states = None, self._states()
        for generator in self.generators:  # a graph that stores its numbers differs in `_compare`
            generator.manual_seed(0)
        try:
            replay = record(step, real, labels, self.generators)
        except RuntimeError as error:
            self._disable(str(error).splitlines()[0])
        finally:
            self._set_states(states)
        if replay is None:  # here `error` no longer keeps the graph's memory alive
            return step(real, labels)
        figures, is_good = self._compare(replay, step, real, labels)
        if is_good:
            self.recorded[penalised] = replay
        else:
            self._disable("a replayed step did something else than the step")
        return figures

    def _compare(
        self, replay: Step, step: Step, real: Tensor, labels: Tensor | None
    ) -> tuple[Tensor, bool]:
        """Replay a step, undo it, and run it without the graph.

        Returns the figures of the second, and whether both changed the same tensors and drew from
        the same generators.
        """
        before, random_states = [part.clone() for part in self.training.tensors()], self._states()
        replayed = [part.clone() for part in (replay(real, labels), *self.training.tensors())]
        drawn = self._have_advanced(random_states)
        for part, old in zip(self.training.tensors(), before, strict=True):
            part.copy_(old)
        self._set_states(random_states)
        figures = step(real, labels)
        plain = (figures, *self.training.tensors())
        is_good = drawn == self._have_advanced(random_states) and all(
            map(is_same_change, (torch.zeros_like(figures), *before), replayed, plain)
        )
        return figures, is_good

    def _disable(self, reason: str) -> None:
        self.enabled = False
        print_line(f"note: steps are not replayed as CUDA graphs, which would be faster ({reason})")

    def _states(self) -> list[Tensor]:
        return [generator.get_state() for generator in self.generators]

    def _set_states(self, states: list[Tensor]) -> None:
        for generator, state in zip(self.generators, states, strict=True):
            generator.set_state(state)

    def _have_advanced(self, states: list[Tensor]) -> list[bool]:
        """For each generator, whether its state differs from the one in `states`."""
        return [not torch.equal(*pair) for pair in zip(self._states(), states, strict=True)]


def is_same_change(before: Tensor, one: Tensor, two: Tensor) -> bool:
    """Whether a tensor was changed alike by two steps, up to rounding.

    The second comparison is for weights whose gradients are little more than rounding errors: Adam
    divides them by their size, and the weights move by nearly the learning rate.
    """
    difference, change = (one - two).float().norm(), (two - before).float().norm()
    return torch.allclose(one, two, rtol=1e-3, atol=1e-4) or bool(difference < 0.2 * change)


def record(
    step: Step, real: Tensor, labels: Tensor | None, generators: Iterable[torch.Generator]
) -> Step:
    """Record `step`, which draws from `generators`; it is not run. RuntimeError if CUDA refuses."""
    graph = torch.cuda.CUDAGraph()
    for generator in generators:
        graph.register_generator_state(generator)  # replaying then advances it
    # Zeros instead of `real`: a graph that does not read its input differs in `_compare`.
    static_real = torch.zeros_like(real)
    static_labels = None if labels is None else torch.zeros_like(labels)
    torch.cuda.synchronize()
    stream = torch.cuda.current_stream()
    try:
        with torch.cuda.graph(graph):
            figures = step(static_real, static_labels)
    except RuntimeError:
        torch.cuda.set_stream(stream)  # a failed recording may leave its own stream current
        raise

    def replay(real: Tensor, labels: Tensor | None) -> Tensor:
        static_real.copy_(real)
        if static_labels is not None:
            static_labels.copy_(labels)
        graph.replay()
        return figures

    return replay
