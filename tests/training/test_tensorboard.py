"""TensorBoard: the refusal without the package, and the events."""

from __future__ import annotations

import sys
import types
from pathlib import Path

import pytest
import torch

from gan_lab import Options
from lab.data.pixels import to_float
from lab.errors import Mistake
from lab.models import DISCRIMINATORS, build
from lab.report import figures
from lab.training import progress
from lab.training.plan import check_options

GREY, COLOUR = (1, 28, 28), (3, 20, 20)


@pytest.mark.parametrize("content", ["raise RuntimeError('of another kind')", "", "1 +"])
def test_another_package_called_tensorboard_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    (tmp_path / "tensorboard.py").write_text(content)
    monkeypatch.syspath_prepend(tmp_path)
    for name in of_tensorboard():
        monkeypatch.delitem(sys.modules, name)
    try:
        with pytest.raises(Mistake, match=r"^--tensorboard: .* does not work \(\w+: .*pip install"):
            check_options(Options(tensorboard=True), {})
    finally:
        for name in of_tensorboard():
            del sys.modules[name]


def of_tensorboard() -> list[str]:
    """The imported modules of the package and of torch.utils.tensorboard."""
    doors = ("tensorboard", "torch.utils.tensorboard")
    return [name for name in sys.modules if name.startswith(doors)]


def test_repeated_epochs_are_in_tensorboard_once(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the optional tensorboard package is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for first, last in ((0, 5), (4, 6)):  # killed after epoch 5, its last checkpoint of epoch 3
        with progress.TensorBoard(tmp_path, first) as board:
            for epoch in range(max(1, first), last + 1):
                board.add_row({"epoch": epoch, "d_loss": last + epoch / 10})
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    found = [(event.step, round(event.value, 1)) for event in events.Scalars("d_loss")]
    assert found == [(1, 5.1), (2, 5.2), (3, 5.3), (4, 6.4), (5, 6.5), (6, 6.6)]


def test_tensorboards_histograms_are_of_d(monkeypatch: pytest.MonkeyPatch) -> None:
    written = {}

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None: ...

        def add_histogram(self, name: str, values: torch.Tensor, epoch: int) -> None:
            written[name] = values

    module = types.SimpleNamespace(SummaryWriter=Writer)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    discriminator = build(DISCRIMINATORS, "mlp", shape=GREY, hidden=(8,), dropout=0.5)
    shown = [torch.full((1, *GREY), level).byte() for level in (255, 0)]
    progress.TensorBoard(Path("none")).add_histograms(1, discriminator, *shown, None)
    assert discriminator.training
    discriminator.eval()  # without dropout
    for name, image in zip(("D(x)", "D(G(z))"), shown, strict=True):
        assert torch.equal(written[name], discriminator(to_float(image)).sigmoid())


@pytest.mark.parametrize("shape", [GREY, COLOUR])
def test_tensorboard_gets_scalars_grid_and_histograms(tmp_path: Path, shape) -> None:
    pytest.importorskip("tensorboard", reason="the optional tensorboard package is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    images = torch.zeros(4, *shape, dtype=torch.uint8)
    discriminator = build(DISCRIMINATORS, "mlp", shape=shape, hidden=(8,))
    with progress.TensorBoard(tmp_path) as board:
        board.add_row({"epoch": 1, "d_loss": 1.3, "fcd_train_5k": 90.0})
        board.add_grid(1, figures.grid(images, 2))
        board.add_histograms(1, discriminator, images, images, None)
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    tags = events.Tags()
    assert {"d_loss", "fcd_train_5k"} <= set(tags["scalars"])
    assert tags["images"] == ["samples"]
    assert set(tags["histograms"]) == {"D(x)", "D(G(z))"}
