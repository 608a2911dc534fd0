"""The convolutional denoiser, and the sampler of possible clean images."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pixel_unshuffle

from lab.text import sized

MOST_AT_ONCE = 500  # images in a batch


class Denoiser(nn.Module):
    """Convolutional denoiser: corrupted images (N, *shape), NaN where pixels are missing -> clean.

    It is blind as that of Guo et al. 2019, "CBDNet": a second network (`Estimator`) estimates the
    kind of corruption and its level, and the denoiser is conditioned on the estimate. It works on
    pixel-unshuffled images with the level as a map, as Zhang et al. 2018, "FFDNet", and at a second
    scale, a quarter of the side, where fully connected layers see the whole image. Input and output
    are scaled with the level as in Karras et al. 2022, "Elucidating the design space of
    diffusion-based generative models", table 1: at low levels the network predicts the noise, at
    high levels the image.

    corruptions: the number of kinds, with "none". overview_width: width of the fully connected
    layers. These and a learnt bias for each position gain 0.12 to 0.18 dB, where all images are
    centred, for a thirtieth of the multiplications.
    ValueError for sides that cannot be halved twice.
    """

    SPREAD = 0.35  # standard deviation of Fashion-MNIST's pixels; MNIST's is 0.31
    latent_maps = 0  # of a sampler

    def __init__(
        self,
        shape: Sequence[int],
        corruptions: int,
        width: int = 32,
        inner_width: int = 64,
        overview_width: int = 256,
    ) -> None:
        super().__init__()
        maps, height, width_of_image = shape
        if height % 4 or width_of_image % 4:
            raise ValueError(f"the denoiser halves the side twice, which {sized(shape)} refuses")
        half, quarter = ((height // part, width_of_image // part) for part in (2, 4))
        small = 4 * maps  # pixels of 2 x 2 become maps
        conditions = 1 + corruptions
        self.latent_shape = (self.latent_maps, *half)
        self.estimator = Estimator(maps, corruptions)
        self.enter = nn.Sequential(
            nn.Conv2d(small + 4 + conditions + self.latent_maps, width, 3, padding=1),
            ResidualConvolutions(width),
        )
        self.down = nn.Conv2d(width, inner_width, 2, stride=2)
        self.inner = nn.Sequential(
            ResidualConvolutions(inner_width), ResidualConvolutions(inner_width)
        )
        self.up = nn.Sequential(nn.Conv2d(inner_width, 4 * width, 1), nn.PixelShuffle(2))
        seen = math.prod(shape) + math.prod(quarter) + conditions + math.prod(self.latent_shape)
        self.overview = Overview(seen, quarter, overview_width, inner_width)
        self.places = nn.Parameter(torch.zeros(1, width, *half))
        self.leave = nn.Sequential(
            ResidualConvolutions(width), nn.Conv2d(width, small, 3, padding=1), nn.PixelShuffle(2)
        )

    def forward(
        self, corrupted: Tensor, condition: Tensor, latents: Tensor | None = None
    ) -> Tensor:
        """(N, *shape): the restored images.

        condition: (N, 1 + kinds), the level and the probability of each kind. latents: of a
        sampler, (N, latent_maps, H / 2, W / 2), standard normal.
        """
        images = corrupted.nan_to_num(nan=0.0)
        level = condition[:, :1, None, None]
        total = (level**2 + self.SPREAD**2).sqrt()  # standard deviation of image and noise
        latents = images.new_zeros(len(images), *self.latent_shape) if latents is None else latents
        holes = corrupted[:, :1].isnan().to(images.dtype)
        answer = self.body(images / total, holes, condition, latents).float()
        return (self.SPREAD / total) ** 2 * images + self.scale(condition) * answer

    def scale(self, condition: Tensor) -> Tensor:
        """(N, 1 + kinds) -> (N, 1, 1, 1): the scale of the network's output."""
        level = condition[:, :1, None, None]
        return level * self.SPREAD / (level**2 + self.SPREAD**2).sqrt()

    def body(self, images: Tensor, missing: Tensor, condition: Tensor, latents: Tensor) -> Tensor:
        """The layers, on images of standard deviation 1; missing: (N, 1, H, W), 0 or 1."""
        small = pixel_unshuffle(torch.cat((images, missing), 1), 2)  # (N, 4 C + 4, H / 2, W / 2)
        maps = condition[:, :, None, None].expand(-1, -1, *small.shape[2:])
        outer = self.enter(torch.cat((small, maps, latents), 1))  # (N, width, H / 2, W / 2)
        inner = self.down(outer)  # (N, inner_width, H / 4, W / 4)
        whole = [images, avg_pool2d(missing, 4), condition, latents]
        inner = inner + self.overview(torch.cat([part.flatten(1) for part in whole], 1))
        return self.leave(outer + self.places + self.up(self.inner(inner)))


class Sampler(Denoiser):
    """A denoiser with latents: each latent gives one possible clean image."""

    latent_maps = 2


class Estimator(nn.Module):
    """Estimates the kind and the level of corruption of images (N, C, H, W) by their texture."""

    def __init__(self, maps: int, kinds: int, width: int = 24) -> None:
        super().__init__()
        self.kinds = kinds
        self.layers = nn.Sequential(
            *(nn.Conv2d(maps + 1, width, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(width, width, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            *(nn.Linear(2 * width, 64), nn.ReLU(), nn.Linear(64, 2 * kinds + 1)),
        )
        for layer in self.layers:  # as He et al. 2015: it learns three times faster
            if isinstance(layer, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, corrupted: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits of the kinds (N, kinds), the strength of each kind (N, kinds), log level (N,).

        Strengths are 0 at the mildest and 1 at the strongest training examples. The level is the
        standard deviation of the noise, or for other kinds the root mean squared error.
        """
        missing = corrupted[:, :1].isnan().to(corrupted.dtype)
        seen = torch.cat((corrupted.nan_to_num(nan=0.0), missing), 1)
        found = in_batches(self.layers, seen).float()
        logits, strengths, level = found.split((self.kinds, self.kinds, 1), 1)
        return logits, strengths, level.squeeze(1)

    def condition(self, corrupted: Tensor) -> Tensor:
        """(N, 1 + kinds): the level and the probability of each kind."""
        logits, _, level = self(corrupted)
        return torch.cat((level.exp().clamp(0.01, 1.5)[:, None], logits.softmax(1)), 1)


def in_batches(network: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """The network's outputs (N, ...) for inputs (N, ...), computed in parts to save memory."""
    batches = zip(*(each.split(MOST_AT_ONCE) for each in inputs), strict=True)
    return torch.cat([network(*batch) for batch in batches])


class Overview(nn.Module):
    """Two fully connected layers from `numbers` inputs to `maps` maps at a quarter of the side."""

    MAPS = 16  # of the second layer, before a convolution makes `maps` of them

    def __init__(self, numbers: int, places: tuple[int, int], width: int, maps: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(numbers, width),
            nn.ReLU(),
            nn.Linear(width, self.MAPS * math.prod(places)),
            nn.Unflatten(1, (self.MAPS, *places)),
            nn.Conv2d(self.MAPS, maps, 1),
        )

    def forward(self, numbers: Tensor) -> Tensor:
        return self.layers(numbers)


class ResidualConvolutions(nn.Module):
    """x + conv(relu(conv(x))) on maps (N, width, H, W): He et al. 2016, "ResNet"."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )

    def forward(self, maps: Tensor) -> Tensor:
        return maps + self.layers(maps)
