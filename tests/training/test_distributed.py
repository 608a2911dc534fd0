"""lab/training/distributed.py: several processes train like one, and report errors once."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import REPOSITORY, SAMPLE, TINY, start
from small_trainings import MAPS, Recorder, images, small_options, small_state, weights_of

import gan_lab
from lab import training
from lab.data import to_float
from lab.errors import Mistake, StopSwitch, run_script
from lab.files import read_json
from lab.runs import Run
from lab.training import distributed, follower

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def environment(number: int, count: int, port: int) -> dict[str, str]:
    """The environment variables that torchrun sets for process `number` of `count`."""
    names = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    elastic = {"TORCHELASTIC_USE_AGENT_STORE": True, "TORCHELASTIC_RESTART_COUNT": 0}
    return {name: str(value) for name, value in {**names, **place, **elastic}.items()}


@contextlib.contextmanager
def processes(count: int, live: Callable[[int, Connection], None]) -> Iterator[tuple[list, list]]:
    """Processes that run `live(number, pipe)` in torchrun's environment, and the pipes to them.

    The store comes after the last fork: its thread may hold a lock of the C library, for which a
    process that was forked at that moment waits for ever.
    """
    context = multiprocessing.get_context("fork")
    pipes = [context.Pipe() for _ in range(count)]

    def begin(number: int) -> None:
        pipe = pipes[number][1]
        os.environ.update(environment(number, count, pipe.recv()))
        live(number, pipe)

    children = [context.Process(target=begin, args=(number,)) for number in range(count)]
    for child in children:
        child.start()
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for own, theirs in pipes:
        own.send(store.port)
        theirs.close()
    try:
        yield children, [own for own, _ in pipes]
    finally:
        for child in children:
            child.kill()


def in_processes(count: int, act: Callable[[], Any]) -> list[Any]:
    """What `act` returns in each of `count` processes that train together."""

    def live(_: int, pipe: Connection) -> None:
        distributed.run_distributed(lambda: pipe.send(act()))

    with processes(count, live) as (children, pipes):
        answers = [pipe.recv() for pipe in pipes]
        for child in children:
            child.join(20)
    return answers


# Equal results


def after_steps(steps: int, typed: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Weights, totals and gradients after `steps` steps; process 1 begins with another seed."""
    if not distributed.is_first():
        typed = (*typed, "--seed", "9")
    options, dataset = small_options(*typed, "--epochs", "1"), images(50 * steps)
    state = small_state(options, dataset)
    state.length = training.Length.of(options, len(dataset.train_images))
    follower.broadcast_state(state, dataset)
    recorder = Recorder(options, state)
    recorder.after_epoch = lambda: setattr(state, "epoch", 1)
    gan_lab.train(options, state, dataset, recorder)
    networks = {"g": state.generator, "d": state.discriminator}
    slopes = {f"slope {end}": _slopes(network) for end, network in networks.items()}
    everything = {**weights_of(state), "figures": state.totals, **slopes}
    return {name: values.numpy() for name, values in everything.items()}


def _slopes(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([weight.grad.flatten() for weight in network.parameters()])


def in_float64(steps: int, typed: tuple[str, ...]) -> dict[str, np.ndarray]:
    """`after_steps` in float64; changes global settings, so it needs its own process."""
    torch.set_default_dtype(torch.float64)
    torch.Tensor.float = torch.Tensor.double
    gan_lab.to_float = lambda shown: to_float(shown).double()
    return after_steps(steps, typed)


@pytest.mark.parametrize("typed", [("modern",), ("modern", "--augment"), ("dcgan", *MAPS)])
def test_two_processes_train_like_one(typed):
    act = partial(in_float64, 20, typed)
    (alone,), (first, second) = in_processes(1, act), in_processes(2, act)
    for name, values in alone.items():
        assert values.dtype == np.float64
        assert np.array_equal(first[name], second[name]), name
        assert np.abs(values - first[name]).max() <= 1e-9, name


def test_first_gradients_in_float32_equal_those_of_one_process():
    act = partial(after_steps, 1, ("modern",))
    (alone,), (first, _) = in_processes(1, act), in_processes(2, act)
    for name in ("slope g", "slope d"):
        apart = np.linalg.norm(alone[name] - first[name])
        assert apart <= 1e-5 * np.linalg.norm(alone[name]), name


def test_all_processes_stop_at_the_step_at_which_one_got_a_signal():
    def act() -> list[int]:
        stop, answers = StopSwitch(distributed.all_reduce_max), []
        for step in range(3):
            if step == 1 and not distributed.is_first():
                stop.receive(signal.SIGTERM)
            stop.synchronise()
            answers.append(stop.requested)
        return answers

    assert in_processes(2, act) == [[0, signal.SIGTERM, signal.SIGTERM]] * 2


def test_process_0_decides_the_length_and_the_stored_options():
    def act() -> list[Any]:
        own = int(distributed.is_first())
        return [
            distributed.all_reduce_max(8 * own),
            distributed.broadcast_object(lambda: {"epochs": own}),
        ]

    assert in_processes(3, act) == [[8, {"epochs": 1}]] * 3


# Errors


@contextlib.contextmanager
def scripts(said: Path, *typed: tuple[object, ...]) -> Iterator[list[Any]]:
    """Run gan_lab.py in one process for each of `typed`; their stderr goes to the file `said`."""

    def live(number: int, _: Connection) -> None:
        sys.argv = ["gan_lab.py", *map(str, typed[number])]
        sys.stderr = said.open("a", buffering=1)
        distributed.GRACE_SECONDS = 1.0
        run_script(partial(distributed.run_distributed, gan_lab.main))

    with processes(len(typed), live) as (children, _):
        yield children


def refused(tmp_path: Path, *typed: tuple[object, ...]) -> str:
    """The one line of stderr of processes with these options."""
    said, always = tmp_path / "said", ("--out", tmp_path / "new", *TINY)
    with scripts(said, *((*always, *own) for own in typed)) as children:
        for child in children:
            child.join(60)
    assert max(child.exitcode for child in children) == 2
    assert said.read_text().count("\n") == 1
    assert not (tmp_path / "new").exists()
    return said.read_text()


@pytest.mark.parametrize(
    ("one", "two", "says"),
    [
        (("--batch-size", 125),) * 2 + ("--batch-size 125: 2 processes cannot share it evenly",),
        (("--batch-norm",),) * 2 + ("--batch-norm: would differ between 2 processes",),
        (("--dropout", 0.1),) * 2 + ("--dropout 0.1: would differ between 2 processes",),
        ((), ("--lr-g", 0.1), "--lr-g: process 0 has none, process 1 --lr-g 0.1; start all"),
        ((), ("--epochs", "x"), "process 1: --epochs 'x': give a whole number"),
        ((), ("--data-dir", SAMPLE / "none"), "process 1: --data-dir"),
        (("--list",),) * 2 + ("--list: is for a single process",),
    ],
)
def test_options_that_processes_cannot_share_are_refused_once(tmp_path, one, two, says):
    assert says in refused(tmp_path, one, two)


def test_each_machine_has_its_own_folder_of_images(tiny_run, tmp_path):
    said, typed = tmp_path / "said", ("--resume", tiny_run, "--epochs", 4, "--dry-run")
    with scripts(said, typed, (*typed, "--data-dir", tmp_path)) as children:
        for child in children:
            child.join(60)
    assert f"process 1: --data-dir {tmp_path}: has no training images" in said.read_text()


def test_only_the_first_process_needs_a_folder_for_runs(tmp_path):
    (tmp_path / "file").touch()
    typed, said = ("--dry-run", *TINY, "--out"), tmp_path / "said"
    with scripts(said, (*typed, tmp_path), (*typed, tmp_path / "file")) as children:
        for child in children:
            child.join(60)
    assert [child.exitcode for child in children] == [0, 0], said.read_text()


def test_a_start_without_torchrun_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in distributed.TORCHRUN:  # as another launcher may set some of them
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(Mistake, match="WORLD_SIZE is set, but RANK is not; unset it, or start"):
        distributed.run_distributed(pytest.fail)
    for name, value in zip(distributed.TORCHRUN, ("0", "0", "1", "localhost"), strict=False):
        monkeypatch.setenv(name, value)
    with pytest.raises(Mistake, match="WORLD_SIZE is set, but MASTER_PORT is not; unset it"):
        distributed.run_distributed(pytest.fail)
    monkeypatch.setenv("MASTER_PORT", "none")
    with pytest.raises(Mistake, match=r"WORLD_SIZE is set, but .*none.*; unset it"):
        distributed.run_distributed(pytest.fail)


def test_other_images_are_refused():
    def act() -> str:
        dataset = images(100)
        if not distributed.is_first():
            dataset = dataclasses.replace(dataset, fingerprint="another")
        try:
            return follower.broadcast_state(small_state(small_options()), dataset)
        except (Mistake, OSError) as error:
            return str(error)

    said, other = in_processes(2, act)
    assert said == distributed.GONE and "other images than those of process 0 (" in other


def test_each_process_needs_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(distributed, "processes", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(Mistake, match="--device auto: 1 GPU for 2 processes; start as many"):
        distributed.pick_local_device("auto")
    assert distributed.pick_local_device("cpu").type == "cpu"
    with pytest.raises(Mistake, match="--device mps: is for a single process"):
        distributed.pick_local_device("mps")


# With torchrun

# With such low rates rounding errors do not grow.
LONG = (
    *("--recipe", "classic", *TINY, "--epochs", 20, "--sample-every", 20),
    *("--lr-g", 1e-5, "--lr-d", 1e-5),
)


def wait_for(path: Path, *processes: Any) -> None:
    while not path.exists():
        assert all(each.poll() is None for each in processes), [p.communicate() for p in processes]
        time.sleep(0.02)


def test_a_run_can_be_resumed_with_another_number_of_processes(tmp_path, monkeypatch):
    straight, folder = (tmp_path / name / "fashion-001" for name in ("straight", "broken"))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        free_port = found.getsockname()[1]
    launcher = start(
        str(Path(sys.executable).with_name("torchrun")),
        *("--nproc-per-node", 2, "--master-port", free_port),
        *(REPOSITORY / "gan_lab.py", "--out", folder.parent, *LONG),
        cwd=tmp_path,
    )
    wait_for(folder / "history.csv", launcher)
    launcher.send_signal(signal.SIGTERM)
    _, said = launcher.communicate(timeout=60)
    (own,) = [line for line in said.splitlines() if line.startswith("gan_lab.py: ")]
    assert "stopped and saved; continue with: " in own and f"--resume {folder}" in own
    assert read_json(folder / "config.json")["status"] == "stopped"
    assert Run(folder).config.machine["processes"] == 2

    rows, said = (folder / "history.csv").stat().st_mtime, tmp_path / "said"
    with scripts(said, *[("--resume", folder)] * 2) as (first, second):
        while (folder / "history.csv").stat().st_mtime == rows:
            time.sleep(0.02)
        second.kill()
        first.join(30)
    assert first.exitcode == 1
    assert re.fullmatch(rf"gan_lab.py: {distributed.GONE}.*--resume {folder}\n", said.read_text())

    monkeypatch.setattr(gan_lab, "save_results", lambda *_: None)
    monkeypatch.setattr(gan_lab.report, "write_pages", lambda *_: None)
    for typed in (("--resume", folder), ("--out", straight.parent, *LONG)):
        monkeypatch.setattr(sys, "argv", ["gan_lab.py", *map(str, typed)])
        gan_lab.main()
    one, two = Run(straight).history, Run(folder).history
    for row, other in zip(one, two, strict=True):
        assert row["d_loss"] == pytest.approx(other["d_loss"], rel=1e-4)
