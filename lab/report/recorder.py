"""What a training leaves behind while it runs: grids, scores, history, checkpoints, the screen."""

import contextlib
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lab.data import Dataset
from lab.data.writers import write_png
from lab.device import full_precision
from lab.errors import Fault, Interrupted, StopSwitch
from lab.evaluation import Evaluator, diagnosis
from lab.models import generate
from lab.report import figures, report
from lab.runs import Run
from lab.seeding import stream
from lab.training.distributed import all_reduce_max
from lab.training.losses import LOSSES
from lab.training.pace import CheckpointClock, Pace
from lab.training.plan import stored_options
from lab.training.progress import ProgressBar, TensorBoard
from lab.training.state import TrainingState, save_checkpoint
from lab.training.timing import TimeBudget

GRID_SIDE = 5  # sample grids are 5 x 5; of a conditional generator they have a row a class
FIRST_PAGE = 0.3  # seconds that a run's first page takes; benchmarks/REPORT.md has what it took
HISTOGRAM_IMAGES = 1_000  # of each kind, in TensorBoard's histograms of D(x) and D(G(z))


@dataclass
class Recorder:
    """Writes a training down.

    As a context it shows a bar. A training that is stopped or diverges inside keeps the generator
    it has, and its page says how it ended.
    """

    run: Run
    options: Any  # those of gan_lab.py
    state: TrainingState
    dataset: Dataset
    evaluator: Evaluator | None
    budget: TimeBudget
    stop: StopSwitch
    again: str  # how to go on, in words

    def __post_init__(self) -> None:
        self.clock = CheckpointClock()
        # Of a run of a thousand short epochs neither may take more time than the epochs do.
        self.history_pace = Pace(1, 1 / 50)
        trained = sum(row.get("seconds", 0.0) for row in self.state.history)  # before a --resume
        self.page_pace = Pace(20, 3 / 100, self.budget.began - trained, FIRST_PAGE)
        self.to_close = contextlib.ExitStack()

    def __enter__(self) -> "Recorder":
        self.board = None
        if self.options.tensorboard:
            first = self.state.epoch + bool(self.state.updates)
            board = TensorBoard(self.run.tensorboard_folder, first)
            self.board = self.to_close.enter_context(board)
        self.bar = self.to_close.enter_context(ProgressBar(self.state))
        if self.state.updates:  # the page of a run that goes on says that it does
            self.renew_page()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        with self.to_close:
            if isinstance(error, Interrupted):
                self.save_generator()
                self.run.save_status("stopped")
            elif isinstance(error, Fault):
                self.run.save_status("diverged")
            if isinstance(error, Interrupted | Fault):
                self.save_history()
                report.show(self.run)

    def after_step(self) -> None:
        """Move the bar; write a checkpoint when one is due, or when Ctrl-C has asked for an end."""
        self.bar.advance(self.state)
        self.stop.synchronise()
        said = self.budget.after_step(stops=bool(self.stop.requested))
        for sentence in said:
            self.bar.print_line(sentence)
        if self.options.minutes:
            all_reduce_max(
                self.state.length.steps
            )  # the other processes, which come with 0, obey it
            if said:
                self.save_length()
        if not self.page_pace.has_run:  # the first grid came before a page was due
            self.renew_page()
        if self.stop.requested or self.clock.is_due(end_of_epoch=False):
            self.state.check_divergence(LOSSES[self.options.loss])
            self.save_checkpoint()

    def after_epoch(self) -> None:
        """Add the epoch to the history; make a grid, a score and a checkpoint when it is time."""
        began = time.monotonic()
        state, options = self.state, self.options
        state.check_divergence(LOSSES[options.loss])
        row = state.end_epoch(options.batch_size)
        is_last = state.epoch >= state.length.epochs
        has_grid = is_last or state.epoch % self.budget.sample_every == 0
        if has_grid:
            self.save_samples()
            if self.evaluator:
                row.update(self.evaluator.quick(state.ema))
        notes = diagnosis.during(state.history, asdict(options))
        if self.board:
            self.board.add_row(row)
        self.bar.print_epoch(row, notes)
        self.stop.synchronise()
        if is_last or self.history_pace.is_due():
            self.save_history()
        if is_last or self.stop.requested or self.clock.is_due(end_of_epoch=True):
            self.save_checkpoint()
        elif has_grid:
            self.renew_page()
        self.budget.after_epoch(began, has_grid)

    def save_history(self) -> None:
        """Write the rows so far; on Windows, later, if a spreadsheet has the file open."""
        if not self.state.history:
            return
        try:
            with self.history_pace.timed():
                self.run.save_history(self.state.history)
        except PermissionError as error:
            line = f"    history.csv was not written ({error.strerror}): is it open elsewhere?"
            self.bar.print_line(line)

    def renew_page(self) -> None:
        """Make the page anew if that is due; where it cannot be made the training goes on."""
        if not self.page_pace.is_due():
            return
        with self.page_pace.timed():
            self.save_history()
            try:
                report.write(Run(self.run.path))
            except (Fault, OSError) as error:
                self.bar.print_line(f"    note: the page was not renewed ({error})")

    def save_length(self) -> None:
        """The length that --minutes has come to, for the files that say it."""
        length = self.state.length
        found = {"epochs": length.epochs, "images_shown": length.images_shown}
        self.options = replace(self.options, **found, sample_every=self.budget.sample_every)
        self.run.save_options(stored_options(self.options))

    def save_checkpoint(self) -> None:
        """What --resume needs. Raises Interrupted if Ctrl-C has asked for an end."""
        with self.clock.timed():
            if self.options.minutes:  # first: it fits an older checkpoint, too
                self.save_length()
            save_checkpoint(self.run.checkpoint_path, self.state)
        self.stop.raise_if_requested(self.again)
        self.renew_page()

    def save_samples(self) -> None:
        """The grid of the same latents each time, and the weights that made it."""
        epoch = self.state.epoch
        grid = self.sample_grid()
        self.run.grid_folder.mkdir(exist_ok=True)
        write_png(self.run.grid_path(epoch), grid)
        self.save_generator()
        if not epoch:
            self.renew_page()
        if self.board:
            self.board.add_grid(epoch, grid)
            real = self.dataset.train_images[:HISTOGRAM_IMAGES].to(self.state.device)
            labels = self.dataset.train_labels if self.options.conditional else None
            if labels is not None:
                labels = labels[:HISTOGRAM_IMAGES].to(self.state.device)
            fake = self.generate(HISTOGRAM_IMAGES, "opinions", labels)
            self.board.add_histograms(epoch, self.state.discriminator, real, fake, labels)

    def sample_grid(self) -> Image.Image:
        """Images of the same latents each time; a row a class, in which a column has its latent."""
        if not self.options.conditional:
            return figures.grid(self.generate(GRID_SIDE**2, "grid"), GRID_SIDE)
        labels, columns = figures.rows_of_classes(len(self.dataset.spec.class_names))
        return figures.grid(self.generate(columns, "grid", labels), columns)

    def save_generator(self) -> None:
        """The averaged weights, which are those one uses."""
        self.run.save_network("generator", self.state.ema, self.dataset.spec, self.state.epoch)

    def generate(self, count: int, purpose: str, labels: Tensor | None = None) -> Tensor:
        """uint8 (count, *shape) from the averaged generator; a purpose has its latents for good.

        labels: (N,), N a multiple of count, what a conditional one is asked for of these latents in
        turn; without them it takes the classes in turn.
        """
        seed = stream(self.options.seed, purpose)
        latents = torch.randn(count, self.options.latent_dim, generator=seed)
        if labels is not None:
            latents, labels = latents.repeat(len(labels) // count, 1), labels.to(self.state.device)
        with full_precision():
            return generate(self.state.ema, latents.to(self.state.device), labels)
