"""Samples of the posterior: several clean pictures that a corrupted one may be of.

A conditional GAN, trained jointly as restorer: its generator is the denoiser with latents, its
discriminator sees a picture beside the corrupted one. After Ohayon et al. 2021, "High perceptual
quality image denoising with a posterior sampling CGAN" (PSCGAN), which adds a penalty on the mean
of the samples, and Bendel et al. 2023, "A regularized conditional GAN for posterior sampling"
(rcGAN), which adds a distance of the samples and a reward for their spread. Here the two are those
of the continuous ranked probability score (Gneiting and Raftery 2007, "Strictly proper scoring
rules"), |x - a| / 2 + |x - b| / 2 - |a - b| / 2 of two samples a and b: it is least where each
pixel's samples are spread as the truth is, so that no weight of the reward need be sought.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle, relu
from torch.nn.utils.parametrizations import spectral_norm

from lab.device import bfloat16_is_fast
from lab.models import SAMPLERS, build
from lab.restoration.denoising import one_cycle, progress, without_haze
from lab.restoration.examples import Examples, draw
from lab.seeding import per_image_noise, seed_for, stream
from lab.training.optim import Adam

BATCH = 16
IMAGES_SHOWN = 100_000
LR, LR_DISCRIMINATOR = 1e-3, 4e-4
ADVERSARIAL = 0.05  # weight of the adversarial loss
BETAS = (0.5, 0.99)


class Discriminator(nn.Module):
    """Whether a picture is the clean one, beside the corrupted one and the denoiser's answer.

    It sees how the picture differs from the answer, on the scale of what is unsure at that level.
    Its norm is held by Miyato et al. 2018, "Spectral normalization".
    """

    def __init__(self, shape: tuple[int, int, int], width: int = 48) -> None:
        super().__init__()
        maps, height, width_of_image = shape
        places = (height // 4) * (width_of_image // 4)
        self.layers = nn.Sequential(
            *(spectral_norm(nn.Conv2d(12 * maps + 4, width, 3, padding=1)), nn.LeakyReLU(0.2)),
            *(spectral_norm(nn.Conv2d(width, 2 * width, 4, 2, padding=1)), nn.LeakyReLU(0.2)),
            *(spectral_norm(nn.Conv2d(2 * width, 2 * width, 3, padding=1)), nn.LeakyReLU(0.2)),
            *(nn.Flatten(), spectral_norm(nn.Linear(2 * width * places, 1))),
        )

    def forward(self, pictures: Tensor, corrupted: Tensor, answer: Tensor, scale: Tensor) -> Tensor:
        """(N,) logits of pictures (N, C, H, W); scale: (N, 1, 1, 1)."""
        missing = corrupted[:, :1].isnan().to(pictures.dtype)
        seen = ((pictures - answer) / scale, answer, corrupted.nan_to_num(nan=0.0), missing)
        return self.layers(pixel_unshuffle(torch.cat(seen, 1), 2)).squeeze(1)


def begun_by(denoiser: nn.Module, seed: int) -> nn.Module:
    """A sampler that answers as the denoiser does, and whose latents say little yet."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "sampler weights"))
        network = build(SAMPLERS, "posterior", **denoiser.config)
    state = network.state_dict()
    for name, weight in denoiser.state_dict().items():
        if state[name].shape == weight.shape:
            state[name] = weight
        else:  # it has columns for the latents at its end
            state[name] *= 0.3
            state[name][:, : weight.shape[1]] = weight
    network.load_state_dict(state)
    return network


def train(images: Tensor, denoiser: nn.Module, seed: int, images_shown: int) -> nn.Module:
    """A sampler trained on uint8 images (N, C, H, W), that begins as the denoiser."""
    device = images.device
    network = begun_by(denoiser, seed).to(device, memory_format=torch.channels_last)
    network.estimator.requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "sampler discriminator"))
        discriminator = Discriminator(images.shape[1:]).to(device)
    rng = stream(seed, "sampler training", device)
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    g_adam = Adam(weights, LR, BETAS)
    d_adam = Adam(list(discriminator.parameters()), LR_DISCRIMINATOR, BETAS)
    for _, done in progress("training the sampler", images_shown, BATCH):
        g_adam.lr, d_adam.lr = LR * one_cycle(done), LR_DISCRIMINATOR * one_cycle(done)
        examples = draw(images, rng, BATCH, always=())
        train_step(network, discriminator, denoiser, examples, g_adam, d_adam, rng)
    return network.eval().requires_grad_(False)


def train_step(
    network: nn.Module,
    discriminator: nn.Module,
    denoiser: nn.Module,
    examples: Examples,
    g_adam: Adam,
    d_adam: Adam,
    rng: torch.Generator,
) -> None:
    """Two samples of each picture; a step of the discriminator, then one of the generator."""
    clean, corrupted, device = examples.clean, examples.corrupted, examples.clean.device
    latents = torch.randn(2 * BATCH, *network.latent_shape, generator=rng, device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_is_fast(device)):
        with torch.no_grad():
            facts = denoiser.estimator.facts(corrupted)
            answer = denoiser(corrupted, facts)
        scale = network.scale(facts)
        both = network(corrupted.repeat(2, 1, 1, 1), facts.repeat(2, 1), latents)
        first, second = both.chunk(2)
        shown = (corrupted, answer, scale)

        # Maximise min(0, D(x) - 1) + min(0, -D(G(y, z)) - 1)
        real, fake = discriminator(clean, *shown), discriminator(first.detach(), *shown)
        d_loss = relu(1 - real).mean() + relu(1 + fake).mean()
    d_adam.zero_grad()
    d_loss.backward()
    d_adam.step()

    # Maximise D(G(y, z)), and minimise the distance and maximise the spread of two samples
    distance = (clean - first).abs() + (clean - second).abs() - (first - second).abs()
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_is_fast(device)):
        judged = discriminator(first, *shown)
    g_loss = (distance / scale).mean() / 2 - ADVERSARIAL * judged.mean()
    g_adam.zero_grad()
    g_loss.backward()
    g_adam.step()


@torch.no_grad()
def sample(network: nn.Module, corrupted: Tensor, count: int, seed: int) -> Tensor:
    """`count` restorations of each corrupted image, (N, count, C, H, W) in [0, 1]."""
    facts = network.estimator.facts(corrupted)
    found = []
    for index in range(count):
        latents = per_image_noise(len(corrupted), network.latent_shape, seed, f"latents {index}")
        parts = (part.split(500) for part in (corrupted, facts, latents.to(corrupted.device)))
        made = torch.cat([network(*some) for some in zip(*parts, strict=True)])
        found.append(without_haze(made, facts))
    return torch.stack(found, 1)
