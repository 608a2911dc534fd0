"""Corruptions that mix pixels: blur, low resolution, compression. Results have 256 levels."""

import io

import torch
from PIL import Image
from torch import Tensor

from lab.data.pictures import as_image
from lab.data.pixels import to_unit, unit_to_levels
from lab.data.writers import as_picture
from lab.restoration.corruption import Corruption, quantised

# Of `Separable.consistent`, chosen on training images, where they gain about a decibel.
DAMPING, CONSISTENCY_STEPS = 0.03, 100


class Separable(Corruption):
    """One linear map along the columns and one along the rows of an image: R image C'."""

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        """Apply the operator and round to 256 levels; `noise` is not used."""
        return quantised(self.expected(images))

    def expected(self, images: Tensor) -> Tensor:
        rows, columns = self.matrices(images)
        return rows @ images @ columns.mT

    def matrices(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """R (..., H, H) and C (..., W, W); their rows sum to 1, so that borders stay as light."""
        height, width = images.shape[2:]
        both = self.weights(images, height, horizontal=False), self.weights(images, width)
        rows, columns = (each / each.sum(-1, keepdim=True) for each in both)
        return rows, columns

    def consistent(self, images: Tensor, corrupted: Tensor) -> Tensor:
        """Images in [0, 1] near `images` that the operator maps to `corrupted`, as far as possible.

        Alternates between the two conditions, as Youla and Webb 1982, "Image restoration by the
        method of convex projections": a damped least-squares step towards `corrupted`, then
        clipping to [0, 1]. In the basis of the singular vectors of R and C the step is a product of
        elements (as in Kawar et al. 2022, "DDRM"); components that the operator erases stay those
        of `images`.
        """
        rows, columns = self.matrices(images)
        (left, of_rows, down), (other, of_columns, right) = map(_svd, (rows, columns))
        singular = of_rows[..., :, None] * of_columns[..., None, :]  # (..., H, W)
        gain = singular / (singular.square() + DAMPING)
        for _ in range(CONSISTENCY_STEPS):
            residual = left.mT @ (corrupted - rows @ images @ columns.mT) @ other
            images = (images + down.mT @ (gain * residual) @ right).clamp(0, 1)
        return images

    def weights(self, images: Tensor, side: int, horizontal: bool = True) -> Tensor:
        """(..., side, side): the weight of pixel j in pixel i of a line, before normalisation.

        horizontal: whether the line is a row of the image; else it is a column.
        """
        raise NotImplementedError


class Blur(Separable):
    """Gaussian blur with a standard deviation of `severity` pixels."""

    name = "blur"
    least, most = 0.1, 20.0
    unit = " pixels"
    examples = ("1", "2")
    trained = (0.4, 5.0)
    is_estimated = True

    def weights(self, images: Tensor, side: int, horizontal: bool = True) -> Tensor:
        return (-0.5 * (distances(images, side) / self.broadcast_severity(images)).square()).exp()


class MotionBlur(Separable):
    """Horizontal motion blur over `severity` pixels."""

    name = "motion-blur"
    least, most = 1.0, 64.0
    unit = " pixels"
    examples = ("5", "9")
    trained = (2.0, 15.0)

    def weights(self, images: Tensor, side: int, horizontal: bool = True) -> Tensor:
        """A box filter along rows, the identity along columns."""
        length = self.broadcast_severity(images) if horizontal else 1.0
        return ((length + 1) / 2 - distances(images, side)).clamp(0, 1)


class Downsample(Separable):
    """Low resolution: each square of `severity` x `severity` pixels is replaced by its mean."""

    name = "downsample"
    least, most = 2.0, 4.0
    severities = "2 or 4"
    unit = " times"
    examples = ("2", "4")
    trained = (2.0, 4.0)

    @classmethod
    def parsed(cls, text: str) -> Corruption:
        if text not in cls.examples:
            raise ValueError(text)
        return cls(int(text))

    @classmethod
    def of_strength(cls, strength: Tensor, side: int = 0, variant: int = 0) -> Corruption:
        """2 for the weaker half of strengths, 4 for the stronger."""
        return cls(torch.where(strength < 0.5, 2.0, 4.0))

    def weights(self, images: Tensor, side: int, horizontal: bool = True) -> Tensor:
        squares = torch.arange(side, device=images.device)[None] // self.broadcast_severity(images)
        return (squares.mT == squares).to(images.dtype)


class Jpeg(Corruption):
    """JPEG compression of quality `severity`."""

    name = "jpeg"
    least, most = 1.0, 95.0
    examples = ("15", "7")
    trained = (50.0, 3.0)
    is_differentiable = False

    def with_noise(self, images: Tensor, noise: Tensor) -> Tensor:
        qualities = self.per_image(images).severity.round().int().tolist()
        made = []
        for levels, quality in zip(unit_to_levels(images), qualities, strict=True):
            file = io.BytesIO()
            as_picture(levels).save(file, "JPEG", quality=quality)
            with Image.open(file) as picture:
                made.append(as_image(picture))
        return to_unit(torch.stack(made)).to(images.device)

    @property
    def variance(self) -> float | Tensor:
        """About its mean squared error, as measured on images of MNIST and Fashion-MNIST."""
        return 0.055 / self.severity


def distances(images: Tensor, side: int) -> Tensor:
    """(side, side): the distance of pixels i and j of a line."""
    at = torch.arange(side, device=images.device, dtype=images.dtype)
    return (at - at[:, None]).abs()


def _svd(matrices: Tensor) -> list[Tensor]:
    """torch.linalg.svd on the CPU: on Apple's MPS that of torch 2.14 fails or is inaccurate."""
    return [part.to(matrices.device) for part in torch.linalg.svd(matrices.cpu())]
