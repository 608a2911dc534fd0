"""The recorder of a training: sample grids, scores, history, checkpoints, page and output."""

import contextlib
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import Tensor

from lab.data import Dataset
from lab.data.writers import write_png
from lab.device import full_precision
from lab.errors import Fault, Interrupted, StopSwitch, handle_signals, interrupt, on_interrupt
from lab.evaluation import Evaluator, diagnosis
from lab.models.sampling import generate, random_latents
from lab.report import figures, report
from lab.runs import Run
from lab.text import print_line
from lab.training.distributed import all_reduce_max
from lab.training.losses import LOSSES
from lab.training.pace import CheckpointClock, Pace
from lab.training.plan import stored_options
from lab.training.progress import ProgressBar, TensorBoard
from lab.training.state import TrainingState, save_checkpoint
from lab.training.timing import TimeBudget

ROWS = 5  # sample grids are 5 x 5 images, those of conditional generators have one row per class
FIRST_PAGE = 0.3  # expected seconds to write the first page, see benchmarks/REPORT.md
HISTOGRAM_IMAGES = 1_000  # real, and as many generated, for TensorBoard's histograms of D


@dataclass
class Recorder:
    """Records a training in its run folder, on the screen and for TensorBoard.

    A context manager with a progress bar. If the training is stopped or diverges in its block, the
    status, the history and the page are written; a stopped run also gets its latest generator. A
    run whose output nobody reads any more, as after `| head`, is stopped.
    """

    run: Run
    options: Any  # those of gan_lab.py
    state: TrainingState
    dataset: Dataset
    evaluator: Evaluator | None
    budget: TimeBudget
    stop: StopSwitch
    resume_hint: str  # for the message after Ctrl-C

    def __post_init__(self) -> None:
        self.clock = CheckpointClock()
        # With very short epochs, history and page must not take longer than the training.
        self.history_pace = Pace(1, 1 / 50)
        trained = sum(row.get("seconds", 0.0) for row in self.state.history)  # before --resume
        self.page_pace = Pace(20, 3 / 100, self.budget.began - trained, FIRST_PAGE)
        self.stack = contextlib.ExitStack()

    def __enter__(self) -> "Recorder":
        self.board = None
        if self.options.tensorboard:
            first = self.state.epoch + bool(self.state.updates)
            board = TensorBoard(self.run.tensorboard_folder, first)
            self.board = self.stack.enter_context(board)
        if self.evaluator and self.evaluator.trains_first:
            later = "the first score trains them, once, in a few minutes"
            print(f"note: {self.dataset.title} has no classifiers yet; {later}", flush=True)
        self.bar = self.stack.enter_context(ProgressBar(self.state))
        if self.state.updates:  # the page of a resumed run still says "stopped"
            self.update_page()
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        with self.stack:
            if isinstance(error, BrokenPipeError):
                self.write_checkpoint()
            if isinstance(error, Interrupted | BrokenPipeError):
                self.save_generator()
                self.run.save_status("stopped")
            elif isinstance(error, Fault):
                self.run.save_status("diverged")
            if isinstance(error, Interrupted | BrokenPipeError | Fault):
                self.save_history()
                report.write_pages(self.run)

    def after_step(self) -> None:
        """Advance the bar; save a checkpoint if one is due or the training is to stop."""
        self.bar.advance(self.state)
        self.stop.synchronise()
        lines = self.budget.after_step(stops=bool(self.stop.requested))
        for line in lines:
            print_line(line)
        if self.options.minutes:
            all_reduce_max(self.state.length.steps)  # the other processes pass 0 and get the length
            if lines:
                self.save_length()
        if not self.page_pace.has_run:  # the first page was not due with the first grid
            began = time.monotonic()
            self.update_page()
            self.budget.between_epochs += time.monotonic() - began
        if self.stop.requested or self.clock.is_due(end_of_epoch=False):
            self.state.check_divergence(LOSSES[self.options.loss])
            self.save_checkpoint()

    def after_epoch(self) -> None:
        """Add the epoch to the history; save a grid, scores and a checkpoint if they are due."""
        state, options = self.state, self.options
        state.check_divergence(LOSSES[options.loss])
        is_last = state.epoch + 1 >= state.length.epochs
        has_grid = is_last or (state.epoch + 1) % self.budget.sample_every == 0
        if has_grid and self.evaluator and self.evaluator.trains_first:
            self.train_classifiers()
        began = time.monotonic()
        row = state.end_epoch(options.batch_size)
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
            self.update_page()
        self.budget.after_epoch(began, has_grid)

    def train_classifiers(self) -> None:
        """Train the classifiers that the set lacks; a signal ends this, and --resume repeats it."""
        self.save_checkpoint()  # of the epoch's last step
        began = time.monotonic()
        with on_interrupt(self.resume_hint), handle_signals(interrupt):
            _ = self.evaluator.judges  # trained when first read
        self.budget.between_epochs += time.monotonic() - began

    def save_history(self) -> None:
        """Write history.csv, which on Windows fails while another program has the file open."""
        if not self.state.history:
            return
        try:
            with self.history_pace.timed():
                self.run.save_history(self.state.history)
        except PermissionError as error:
            reason = f"({error.strerror}): is it open elsewhere?"
            print_line(f"    history.csv was not written {reason}")

    def update_page(self) -> None:
        """Write the page if it is due; an error does not stop the training."""
        if not self.page_pace.is_due():
            return
        with self.page_pace.timed():
            self.save_history()
            try:
                report.write(Run(self.run.path))
            except (Fault, OSError) as error:
                print_line(f"    note: the page was not updated ({error})")

    def save_length(self) -> None:
        """Write the length that --minutes has chosen to config.json."""
        length, every = self.state.length, self.budget.sample_every
        chosen = {"epochs": length.epochs, "images_shown": length.images_shown}
        self.options = replace(self.options, **chosen, sample_every=every)
        self.run.save_options(stored_options(self.options))

    def save_checkpoint(self) -> None:
        """Save a checkpoint for --resume; then raise Interrupted if the training is to stop."""
        with self.clock.timed():
            self.write_checkpoint()
        self.stop.raise_if_requested(self.resume_hint)
        self.update_page()

    def write_checkpoint(self) -> None:
        """Write the checkpoint, and before it the length, which also fits the old checkpoint."""
        if self.options.minutes:
            self.save_length()
        save_checkpoint(self.run.checkpoint_path, self.state)

    def save_samples(self) -> None:
        """Save a sample grid, always of the same latents, and the generator's weights."""
        epoch = self.state.epoch
        if self.options.conditional:
            labels, columns = figures.rows_of_classes(len(self.dataset.spec.class_names))
            grid = figures.grid(self.generate(columns, "grid", labels), columns)
        else:
            grid = figures.grid(self.generate(ROWS**2, "grid"), ROWS)
        self.run.grid_folder.mkdir(exist_ok=True)
        write_png(self.run.grid_path(epoch), grid)
        self.save_generator()
        if not epoch:
            self.update_page()
        if self.board:
            self.board.add_grid(epoch, grid)
            real = self.dataset.train_images[:HISTOGRAM_IMAGES].to(self.state.device)
            labels = None
            if self.options.conditional:
                labels = self.dataset.train_labels[: len(real)].to(self.state.device)
            fake = self.generate(len(real), "opinions", labels)
            self.board.add_histograms(epoch, self.state.discriminator, real, fake, labels)

    def save_generator(self) -> None:
        self.run.save_network("generator", self.state.ema, self.dataset.spec, self.state.epoch)

    @full_precision()
    def generate(self, count: int, purpose: str, labels: Tensor | None = None) -> Tensor:
        """Images, uint8 (count, *shape), of the averaged generator; `purpose` seeds the latents.

        labels: (N,), N a multiple of `count`, for a conditional generator; the latents repeat, and
        N images are returned. By default it makes the classes in turn.
        """
        latents = random_latents(self.state.ema, count, purpose, self.options.seed)
        repeats = 1 if labels is None else len(labels) // count
        return generate(self.state.ema, latents.repeat(repeats, 1), labels)
