"""Whether a run's own discriminator can choose or improve its generator's samples.

    python benchmarks/refine.py --run outputs/fashion-001 --data-dir FOLDER

Scores 10,000 samples against the training images: plain ones; samples chosen by discriminator
rejection (Azadi et al. 2019); and latents moved by Langevin steps of the discriminator's energy
(Che et al. 2020, "DDLS"). Prints a row of the table in benchmarks/CONDITIONAL.md for each.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # the lab, wherever this is started from

import torch
from torch import Tensor, nn

from lab.data import load
from lab.device import set_up_torch
from lab.errors import run_script
from lab.evaluation import Evaluator
from lab.models.sampling import generate
from lab.models.serialization import load_weights
from lab.options import option, parse
from lab.runs import Run

COUNT = 10_000  # samples that are scored
CANDIDATES = 60_000  # of which rejection chooses
CHUNK = 500
GAMMAS = (0.5, 0.8)  # quantiles of the candidates' scores that are accepted half of the time
STEPS, STEP_SIZE = 20, 0.02  # of the Langevin dynamics
FIGURES = ("fcd_train", "fcd_mlp_train", "recall")


@dataclass(frozen=True)
class Options:
    """The command-line options."""

    run: Path | None = option(None, "run folder; default the newest")
    data_dir: Path | None = option(None, "folder with the files of a named set", folder=True)
    seed: int = option(3, "of the latents", low=0, high=2**31)


@dataclass(frozen=True)
class Networks:
    """Both networks of a run. classes: of conditional ones; 0 for others."""

    generator: nn.Module
    discriminator: nn.Module
    classes: int
    rng: torch.Generator

    def draw(self, count: int) -> tuple[Tensor, Tensor | None]:
        """Latents (count, latent_dim), and labels (count,), the classes in turn, if any."""
        latents = torch.randn(count, self.generator.latent_dim, generator=self.rng)
        return latents, torch.arange(count) % self.classes if self.classes else None

    def logits(self, latents: Tensor, labels: Tensor | None) -> Tensor:
        """(N,): the discriminator's logits of the images of (N, latent_dim)."""
        return self.discriminator(self.generator(latents, labels), labels)


def chunks(latents: Tensor, labels: Tensor | None) -> list[tuple[Tensor, Tensor | None]]:
    """Both in parts of CHUNK."""
    parts = latents.split(CHUNK)
    part_labels = labels.split(CHUNK) if labels is not None else [None] * len(parts)
    return list(zip(parts, part_labels, strict=True))


@torch.no_grad()
def rejected(networks: Networks, gamma: float) -> tuple[Tensor, Tensor | None]:
    """Latents and labels that discriminator rejection sampling keeps, COUNT at most.

    Equation 8 of the paper: F = l - M - log(1 - exp(l - M - e)) - shift for a logit l and the
    greatest logit M; a sample is kept with probability sigmoid(F). The shift is F's quantile gamma.
    """
    latents, labels = networks.draw(CANDIDATES)
    logits = torch.cat([networks.logits(*part) for part in chunks(latents, labels)])
    below = logits - logits.max()
    scores = below - torch.log1p(-(below - 1e-4).exp())
    odds = (scores - scores.quantile(gamma)).sigmoid()
    kept = (odds > torch.rand(len(odds), generator=networks.rng)).nonzero()[:, 0]
    if labels is None:
        return latents[kept[:COUNT]], None
    share = COUNT // networks.classes  # as many of each class
    kept = torch.cat([kept[labels[kept] == each][:share] for each in range(networks.classes)])
    return latents[kept], labels[kept]


def moved(networks: Networks, latents: Tensor, labels: Tensor | None) -> Tensor:
    """The latents after Langevin steps of the energy |z|^2 / 2 - D(G(z))."""
    done = []
    for part, part_labels in chunks(latents, labels):
        for _ in range(STEPS):
            part = part.detach().requires_grad_()
            energy = part.square().sum() / 2 - networks.logits(part, part_labels).sum()
            (gradient,) = torch.autograd.grad(energy, part)
            noise = torch.randn(part.shape, generator=networks.rng)
            part = part - STEP_SIZE / 2 * gradient + STEP_SIZE**0.5 * noise
        done.append(part.detach())
    return torch.cat(done)


def main() -> None:
    """Score the samples of each method and print the rows."""
    options = parse(Options)
    set_up_torch()
    run = Run.open("--run", options.run) if options.run else Run.newest()
    weights = run.load_generator()
    discriminator = load_weights(run.path / "discriminator.pth", "discriminator").network
    dataset = load(run.options["dataset"], options.data_dir)
    evaluator = Evaluator(dataset, torch.device("cpu"))
    rng = torch.Generator().manual_seed(options.seed)
    classes = getattr(weights.network, "classes", 0)
    networks = Networks(weights.network, discriminator, classes, rng)

    def score(method: str, latents: Tensor, labels: Tensor | None, began: float) -> None:
        seconds = time.perf_counter() - began
        images = generate(weights.network, latents, labels)
        figures = evaluator.full_of_images(images, labels).record.figures
        shown = " | ".join(f"{figures[name]:.2f}" for name in FIGURES)
        print(f"| {dataset.title} | {method} | {shown} | {seconds:.0f} |", flush=True)

    latents, labels = networks.draw(COUNT)
    score("plain samples", latents, labels, time.perf_counter())
    for gamma in GAMMAS:
        began = time.perf_counter()
        score(f"rejection, gamma {gamma}", *rejected(networks, gamma), began)
    began = time.perf_counter()
    score(f"Langevin, {STEPS} steps", moved(networks, latents, labels), labels, began)


if __name__ == "__main__":
    run_script(main)
