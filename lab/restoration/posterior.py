"""Posterior samples: several possible clean images of a corrupted one.

The sampler is the generator of a conditional GAN: the denoiser with a latent as further input. The
discriminator sees a clean or restored image together with the corrupted one. Ohayon et al. 2021,
"High perceptual quality image denoising with a posterior sampling CGAN" (PSCGAN), add a penalty on
the mean of the samples to the adversarial loss; Bendel et al. 2023, "A regularized conditional GAN
for posterior sampling" (rcGAN), a distance of the samples to the clean image and a reward for their
spread. Here distance and reward are those of the continuous ranked probability score (Gneiting and
Raftery 2007, "Strictly proper scoring rules"), |x - a| / 2 + |x - b| / 2 - |a - b| / 2 for a clean
image x and two samples a and b. Its expectation is least if samples of a pixel are distributed as
its clean value is, so the reward needs no weight to be tuned.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import pixel_unshuffle, relu
from torch.nn.utils.parametrizations import spectral_norm

from lab.device import bfloat16_is_fast
from lab.models import SAMPLERS, build
from lab.models.denoiser import in_batches
from lab.restoration.denoising import one_cycle, without_haze
from lab.restoration.examples import Examples, draw
from lab.seeding import per_image_noise, seed_for, stream
from lab.text import progress
from lab.training.optim import Adam

BATCH = 16
IMAGES_SHOWN = 100_000
LR, LR_DISCRIMINATOR = 1e-3, 4e-4
ADVERSARIAL = 0.05  # weight of the adversarial loss
BETAS = (0.5, 0.99)


class Discriminator(nn.Module):
    """Tells clean images from samples, given the corrupted image and the denoiser's answer.

    It sees the difference of the image and that answer, divided by the error to be expected at this
    level of corruption. Spectral normalisation: Miyato et al. 2018.
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
        """Logits (N,) of pictures (N, C, H, W). scale: (N, 1, 1, 1), the expected error."""
        missing = corrupted[:, :1].isnan().to(pictures.dtype)
        seen = ((pictures - answer) / scale, answer, corrupted.nan_to_num(nan=0.0), missing)
        return self.layers(pixel_unshuffle(torch.cat(seen, 1), 2)).squeeze(1)


def from_denoiser(denoiser: nn.Module, seed: int) -> nn.Module:
    """An untrained sampler with the denoiser's weights, on which latents have little effect."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "sampler weights"))
        network = build(SAMPLERS, "posterior", **denoiser.config)
    state = network.state_dict()
    for name, weight in denoiser.state_dict().items():
        if state[name].shape == weight.shape:
            state[name] = weight
        else:  # the last input channels are the latents
            state[name] *= 0.3
            state[name][:, : weight.shape[1]] = weight
    network.load_state_dict(state)
    return network


def train(images: Tensor, denoiser: nn.Module, seed: int, images_shown: int) -> nn.Module:
    """A sampler trained on uint8 images (N, C, H, W), starting from the denoiser's weights."""
    device = images.device
    network = from_denoiser(denoiser, seed).to(device, memory_format=torch.channels_last)
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
    """One update of the discriminator, then one of the sampler, on two samples of each image."""
    clean, corrupted, device = examples.clean, examples.corrupted, examples.clean.device
    latents = torch.randn(2 * BATCH, *network.latent_shape, generator=rng, device=device)
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_is_fast(device)):
        with torch.no_grad():
            condition = denoiser.estimator.condition(corrupted)
            answer = denoiser(corrupted, condition)
        scale = network.scale(condition)
        both = network(corrupted.repeat(2, 1, 1, 1), condition.repeat(2, 1), latents)
        first, second = both.chunk(2)
        shown = (corrupted, answer, scale)

        # (1) Update the discriminator, hinge loss: maximise min(0, D(x) - 1) + min(0, -D(G) - 1).
        real, fake = discriminator(clean, *shown), discriminator(first.detach(), *shown)
        d_loss = relu(1 - real).mean() + relu(1 + fake).mean()
    d_adam.zero_grad()
    d_loss.backward()
    d_adam.step()

    # (2) Update the sampler: maximise D(G), minimise the ranked probability score.
    distance = (clean - first).abs() + (clean - second).abs() - (first - second).abs()
    with torch.autocast(device.type, torch.bfloat16, enabled=bfloat16_is_fast(device)):
        judged = discriminator(first, *shown)
    g_loss = (distance / scale).mean() / 2 - ADVERSARIAL * judged.mean()
    g_adam.zero_grad()
    g_loss.backward()
    g_adam.step()


@torch.no_grad()
def sample(
    network: nn.Module, corrupted: Tensor, count: int, seed: int, condition: Tensor | None = None
) -> Tensor:
    """`count` restorations of each corrupted image, (N, count, C, H, W) in [0, 1].

    Latents are drawn in antithetic pairs z, -z (Hammersley and Morton 1956, "A new Monte Carlo
    technique"): each sample is distributed as before, and the mean of a few of them varies less.
    condition: (N, 1 + kinds); None: it is estimated.
    """
    condition = network.estimator.condition(corrupted) if condition is None else condition
    drawn = [
        per_image_noise(len(corrupted), network.latent_shape, seed, f"latents {pair}")
        for pair in range(math.ceil(count / 2))
    ]
    found = []
    for latents in [each for one in drawn for each in (one, -one)][:count]:
        restored = in_batches(network, corrupted, condition, latents.to(corrupted.device))
        found.append(without_haze(restored, condition))
    return torch.stack(found, 1)
