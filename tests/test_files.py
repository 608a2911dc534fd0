"""lab/files.py: atomic writing, untrusted JSON, locks, checks of paths."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from conftest import REPOSITORY
from hypothesis import given, settings
from hypothesis import strategies as st

from lab import files
from lab.data import pictures
from lab.errors import Fault, Mistake
from lab.models.tensor_files import digest

# Atomic writing


def test_a_failed_write_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "file"
    files.write_text(path, "before")

    def fail(file):
        file.write(b"half")
        raise OSError(28, os.strerror(28))

    with pytest.raises(OSError, match="No space"):
        files.write_whole(path, fail)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_renaming_keeps_the_old_folder(tmp_path, monkeypatch):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "before").touch()
    monkeypatch.setattr(files, "_rename", lambda part, path: signal.raise_signal(signal.SIGINT))
    with pytest.raises(KeyboardInterrupt), files.atomic_path(tmp_path / "folder") as part:
        part.mkdir()
    assert [path.name for path in tmp_path.rglob("*")] == ["folder", "before"]


def test_a_read_only_file_system_is_named_with_the_file(tmp_path, monkeypatch):
    def refuse(path, *_, **__):
        raise OSError(30, os.strerror(30), str(path))

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OSError, match="Read-only") as caught:
        files.write_text(tmp_path / "file", "text")
    assert caught.value.filename == str(tmp_path / "file")


def test_a_file_that_another_program_has_open_is_tried_again(tmp_path, monkeypatch):
    path, replace, tries = tmp_path / "file", Path.replace, []

    def in_use(beside, path):  # as Windows says it
        tries.append(beside)
        if len(tries) < 3:
            raise PermissionError(13, os.strerror(13), str(path))
        return replace(beside, path)

    monkeypatch.setattr(Path, "replace", in_use)
    monkeypatch.setattr(files, "RENAME_ATTEMPTS", 2)
    with pytest.raises(PermissionError):
        files.write_text(path, "held for too long")
    assert not list(tmp_path.iterdir())
    files.write_text(path, "free again")
    assert path.read_text() == "free again"


def test_a_file_is_replaced_not_written_into(tmp_path):
    path, other = tmp_path / "file", tmp_path / "its other name"
    files.write_text(path, "before")
    other.hardlink_to(path)
    files.write_text(path, "after")
    assert (path.read_text(), other.read_text()) == ("after", "before")


def test_the_longest_file_name_can_be_written(tmp_path):
    path = tmp_path / ("n" * 251 + ".txt")
    files.write_text(path, "here")
    assert path.read_text() == "here"


def test_processes_with_the_same_number_use_different_files(tmp_path):
    """As in two containers that share a folder."""
    path = tmp_path / "file"

    def overtaken(file):
        files.write_text(path, "the other's")
        file.write(b"ours")

    files.write_whole(path, overtaken)
    assert path.read_text() == "ours"
    assert list(tmp_path.iterdir()) == [path]


def test_errors_name_the_final_path(tmp_path):
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OSError, match=r"report\.html'$"):
        files.write_text(tmp_path / "report.html", "text")


# Reading


def test_damaged_json_is_refused(tmp_path):
    path = tmp_path / "config.json"
    nested = b'{"seed":' + 30 * b"[" + 30 * b"]" + b"}"  # too deep
    for content in (b"", b"{", b"[1]", b"\xff\xfe", b"[" * 100_000, b'"text"', nested):
        path.write_bytes(content)
        with pytest.raises(Fault, match=r"config\.json"):
            files.read_json(path)
    path.write_text("{}", encoding="utf-8-sig")  # with a byte-order mark
    assert files.read_json(path) == {}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,019eE.-tfnul \\', max_size=60))
def test_any_bytes_give_an_object_or_a_fault(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    try:
        assert isinstance(files.read_json(path), dict)
    except Fault as fault:
        assert "any.json" in str(fault) and "\n" not in str(fault)


def test_json_is_read_back(tmp_path):
    content = {"name": "Häher", "figures": [1, 2.5, None, True], "inner": {"path": Path("a/b")}}
    files.write_json(tmp_path / "c.json", content)
    inner = {"inner": {"path": str(Path("a/b"))}}
    assert files.read_json(tmp_path / "c.json") == {**content, **inner}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes that have a name")
@pytest.mark.parametrize("read", [files.read_json, files.read_text, digest, pictures.opened])
def test_pipes_and_huge_files_are_refused(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(2**35)  # sparse
    for name in ("pipe", "endless", "huge"):
        with pytest.raises((Fault, pictures.Unreadable)):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["../x.png", "a/b.png", "..", ".", "a\0.png", "\ud800.png", "n" * 256, "", 3, None]
)
def test_plain_names_are_recognised(name):
    assert not files.is_plain_name(name)
    assert files.is_plain_name("Übung 1.png")


# Locks


def test_is_held_does_not_lock(tmp_path):
    assert not files.is_locked(tmp_path) and not list(
        tmp_path.iterdir()
    )  # is_locked writes nothing
    with files.locked(tmp_path):
        assert files.is_locked(tmp_path)
        with pytest.raises(Fault, match="in use by another"), files.locked(tmp_path, wait=False):
            pass
        assert files.is_locked(tmp_path)
    assert not files.is_locked(tmp_path)
    with files.locked(tmp_path, wait=False):
        assert files.is_locked(tmp_path)


def test_is_held_of_another_program_does_not_disturb(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    (tmp_path / files.LOCK_FILE).touch()
    asking = os.open(tmp_path / files.LOCK_FILE, os.O_RDWR)
    fcntl.flock(asking, fcntl.LOCK_EX)  # as another program's is_locked does, for a moment
    threading.Timer(files.LOCK_TIMEOUT / 4, os.close, [asking]).start()
    with files.locked(tmp_path, wait=False):
        assert files.is_locked(tmp_path)


def test_waiting_for_a_lock(tmp_path):
    order, holds = [], threading.Event()

    def other() -> None:
        with files.locked(tmp_path):
            holds.set()
            order.append("the other")
            threading.Event().wait(3 * files.LOCK_TIMEOUT)
            order.append("the other still")

    thread = threading.Thread(target=other)
    thread.start()
    assert holds.wait(10)
    with files.locked(tmp_path):
        order.append("this one")
    thread.join()
    assert order == ["the other", "the other still", "this one"]


def test_a_killed_program_has_no_lock(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from lab.files import locked\n"
        "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout.readline() == "held\n"
        assert files.is_locked(tmp_path)
    finally:
        process.kill()
        process.communicate()
    assert not files.is_locked(tmp_path)


def test_file_systems_without_locks_are_accepted(tmp_path, monkeypatch):
    def none(*_, **__):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(files.FileLock, "acquire", none)
    with files.locked(tmp_path, wait=False):
        (tmp_path / files.LOCK_FILE).touch()
        assert not files.is_locked(tmp_path)


def test_an_error_in_the_block_releases_the_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), files.locked(tmp_path):
        1 / 0  # noqa: B018
    assert not files.is_locked(tmp_path)


# Paths in options


def test_folders_that_cannot_be_written_to_are_named(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    for folder, says in (
        ("file", "--out .*file: is a file, name a folder"),
        ("file/below", "below: .*file is a file, name a folder"),
        ("nowhere", "is a broken link; remove it"),
        ("nowhere/below", "is a broken link; remove it"),
    ):
        with pytest.raises(Mistake, match=says):
            files.check_writable("--out", tmp_path / folder)
    files.check_writable("--out", tmp_path / "new" / "below")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "nowhere"]


def test_a_drive_that_does_not_exist_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda path: False)  # as on Windows for E: without a stick
    with pytest.raises(Mistake, match=r"^--out .*new: / does not exist, name another folder$"):
        files.check_writable("--out", tmp_path / "new")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is no /proc")
@pytest.mark.parametrize("folder", ["/proc/new", "/proc", "/sys/new", "/dev/null/new"])
def test_folders_that_only_the_system_writes_to_are_named(folder):
    with pytest.raises(Mistake, match=rf"^--out {folder}: .*is (not writable|a file), name"):
        files.check_writable("--out", Path(folder))


def test_a_full_disk_is_not_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(files.tempfile, "TemporaryDirectory", full)
    files.check_writable("--out", tmp_path)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may do anything")
def test_a_folder_without_permission_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(Mistake, match="is not writable, copy the run"):
        files.check_writable("--run", tmp_path, cure="copy the run")


def test_links_out_of_a_folder_are_named(tmp_path):
    inside, outside = tmp_path / "run", tmp_path / "precious"
    inside.mkdir(), outside.mkdir()
    (inside / "kept").symlink_to(inside)
    files.check_closed("--run", inside)
    files.check_closed("--run", tmp_path / "not there yet")
    (inside / "grids").symlink_to(outside)
    with pytest.raises(Mistake, match="grids is a link out of it; remove it"):
        files.check_closed("--run", inside)
    (inside / "grids").unlink()
    (inside / "circle").symlink_to(inside / "circle")
    with pytest.raises(Mistake, match="circle: is a broken link"):
        files.check_closed("--run", inside)


def test_a_folder_that_must_exist_is_checked(tmp_path):
    (tmp_path / "file").touch()
    files.check_path("--data-dir", tmp_path, folder=True)
    for path, says in (
        (tmp_path / "file", "is a file, not a folder"),
        (tmp_path / "none", "does not exist"),
        (tmp_path / ("x" * 300), "--data-dir .*: File name too long; give another"),
    ):
        with pytest.raises(Mistake, match=says):
            files.check_path("--data-dir", path, folder=True)
    files.check_path("--run", tmp_path / "none")


def test_the_cache_folder_follows_the_system(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    assert files.cache_folder() == tmp_path / "own" / "gan-lab"
    assert not files.cache_folder().exists()
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # which is to be ignored
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(sys, "platform", "linux")
    assert files.cache_folder() == tmp_path / ".cache" / "gan-lab"
