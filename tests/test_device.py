"""lab/device.py: device, precision, threads, and other programs on the cores."""

from __future__ import annotations

import pytest
import torch

from lab import device
from lab.errors import Mistake


@pytest.mark.parametrize(
    ("whole", "idle", "own", "crowded"),
    [
        (20.0, 0.5, 10.0, True),  # two trainings at once
        (20.0, 0.5, 19.0, False),  # alone
        (20.0, 10.0, 9.5, False),  # alone, networks too small for two threads
        (20.0, 10.0, 1.0, False),  # others, but with idle cores
        (0.5, 0.0, 0.1, False),  # too soon to say
    ],
)
def test_other_programs_on_the_cores_are_detected(monkeypatch, whole, idle, own, crowded):
    readings = iter([(1000.0, 500.0, 7.0), (1000.0 + whole, 500.0 + idle, 7.0 + own), None])
    monkeypatch.setattr(device, "cpu_seconds", lambda: next(readings))
    contention = device.Contention()
    assert contention.is_crowded() is crowded
    assert not contention.is_crowded()  # unknown


@pytest.mark.skipif(device.cpu_seconds() is None, reason="needs Linux")
def test_the_cpu_time_of_this_process_is_part_of_the_total():
    before = device.cpu_seconds()
    while device.cpu_seconds()[2] < before[2] + 0.3:
        pass
    whole, idle, own = (now - then for now, then in zip(device.cpu_seconds(), before, strict=True))
    assert own >= 0.3
    assert whole - idle > own - 0.1  # the system counts in hundredths of a second, for each core


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_gpu_that_torch_cannot_use_is_skipped(monkeypatch, capsys):
    with pytest.raises(Mistake, match="--device cuda: this machine has none"):
        device.pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # as with a GPU that is too old
    assert device.pick_device("auto").type in ("mps", "cpu")
    assert "note: cuda: torch cannot use it (" in capsys.readouterr().out
    with pytest.raises(Mistake, match=r"--device cuda: torch cannot use it \(.*--device auto"):
        device.pick_device("cuda")


def test_the_cpu_is_always_usable(capsys):
    assert device.pick_device("cpu") == torch.device("cpu")
    assert device.pick_device("auto").type in device.DEVICES
    assert capsys.readouterr().out == ""


def test_matmul_precision_is_set_inside_the_block_only(monkeypatch):
    monkeypatch.setattr(device, "_instructions", lambda: "AVX2")
    with device.matrix_products("bfloat16", torch.device("cpu")):
        assert torch.get_float32_matmul_precision() == "highest"  # no bfloat16 instructions
    monkeypatch.setattr(device, "_instructions", lambda: "AVX512")
    before = torch.get_float32_matmul_precision()
    for precision, wanted in (("bfloat16", "medium"), ("float32", "highest")):
        with device.matrix_products(precision, torch.device("cpu")):
            assert torch.get_float32_matmul_precision() == wanted
            with device.full_precision():  # scores and pictures
                assert torch.get_float32_matmul_precision() == "highest"
            assert torch.get_float32_matmul_precision() == wanted
        assert torch.get_float32_matmul_precision() == before
    with device.matrix_products("float32", torch.device("cuda")):
        assert torch.get_float32_matmul_precision() == "high"  # TF32


def test_feature_maps_are_bfloat16_with_convolutions_only(monkeypatch):
    monkeypatch.setattr(device, "_instructions", lambda: "AVX512")
    monkeypatch.setattr(device, "bfloat16_is_fast", lambda device: True)
    for precision, convolutions, kept in (
        *(("bfloat16", True, True), ("bfloat16", False, False), ("float32", True, False)),
    ):
        with device.matrix_products(precision, torch.device("cpu"), convolutions):
            assert torch.is_autocast_enabled("cpu") is kept
    monkeypatch.setattr(device, "bfloat16_is_fast", lambda device: False)
    with device.matrix_products("bfloat16", torch.device("cpu"), convolutions=True):
        assert not torch.is_autocast_enabled("cpu")


@pytest.mark.parametrize(("capability", "fast"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_gpus_since_ampere_have_units_for_bfloat16(monkeypatch, capability, fast):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert device.bfloat16_is_fast(torch.device("cuda")) is fast


@pytest.mark.parametrize(
    ("instructions", "supported", "fast"),
    [("AVX512", True, True), ("AVX512", False, False), ("AVX2", True, False)],
)
def test_processors_with_avx512_bf16_have_units_for_bfloat16(
    monkeypatch, instructions, supported, fast
):
    monkeypatch.setattr(device, "_instructions", lambda: instructions)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: supported)
    assert device.bfloat16_is_fast(torch.device("cpu")) is fast


def test_precision_is_restored_after_an_error():
    before = torch.get_float32_matmul_precision()
    for context in (device.matrix_products("bfloat16", torch.device("cpu")),):
        with pytest.raises(ZeroDivisionError), context:
            1 / 0  # noqa: B018
    with pytest.raises(ZeroDivisionError), device.full_precision():
        1 / 0  # noqa: B018
    assert torch.get_float32_matmul_precision() == before


@pytest.mark.parametrize(
    ("said", "cores"), [("37", 37), ("5,1", 5), (" 3 , 2", 3), ("99999999999", device.MAX_THREADS)]
)
def test_omp_num_threads_decides(monkeypatch, said, cores):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert device.available_cores() == cores


@pytest.mark.parametrize("said", ["", "0", "many", "-3", ",2"])
def test_an_invalid_omp_num_threads_is_ignored(monkeypatch, said):
    monkeypatch.setenv("OMP_NUM_THREADS", said)
    found = device.available_cores()
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert found == device.available_cores() >= 1


@pytest.mark.parametrize(
    ("group", "files", "cores"),
    [
        ("0::/", {"cpu.max": "150000 100000"}, 1.5),  # in a container, version 2
        ("0::/a/b", {"a/cpu.max": "200000 100000", "a/b/cpu.max": "max 100000"}, 2),  # nested
        ("0::/a/b", {"a/cpu.max": "400000 100000", "a/b/cpu.max": "50000 100000"}, 0.5),
        ("0::/../..", {"cpu.max": "max 100000"}, float("inf")),
        ("0::/a", {"a/cpu.max": "100000 0"}, float("inf")),
        ("4:memory:/a\n3:cpuacct,cpu:/a", {"cpu/a": (300_000, 100_000)}, 3),  # version 1
        ("3:cpu,cpuacct:/docker/1f", {"cpu": (250_000, 100_000)}, 2.5),  # in a container
        ("3:cpu:/a/b", {"cpu/a": (100_000, 50_000), "cpu/a/b": (-1, 100_000)}, 2),
        ("3:cpuset:/a", {"cpu/a": (100_000, 100_000)}, float("inf")),  # another controller
        ("garbage", {}, float("inf")),
    ],
)
def test_the_quotas_of_all_control_groups_apply(tmp_path, group, files, cores):
    for name, content in files.items():
        path = tmp_path / "sys/fs/cgroup" / name
        if isinstance(content, str):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content + "\n")
            continue
        path.mkdir(parents=True, exist_ok=True)
        for what, value in zip(("quota", "period"), content, strict=True):
            (path / f"cpu.cfs_{what}_us").write_text(f"{value}\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(group + "\n")
    assert device.cpu_quota(tmp_path) == cores


@pytest.mark.parametrize(
    ("group", "folder", "names"),
    [
        ("0::/job/step", "job", ("memory.max", "memory.current")),  # version 2, nested
        ("3:memory:/job", "memory/job", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
    ],
)
def test_the_memory_limits_of_all_control_groups_apply(tmp_path, group, folder, names):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(f"{group}\n")
    (tmp_path / "proc/meminfo").write_text("MemFree: 9 kB\nMemAvailable:   8000 kB\n")
    assert device.free_memory(tmp_path) == 8_192_000
    (home := tmp_path / "sys/fs/cgroup" / folder).mkdir(parents=True)
    for name, content in zip(
        (*names, "memory.stat"), (5_000, 3_000, "inactive_file 500\n"), strict=True
    ):
        (home / name).write_text(f"{content}")
    assert device.free_memory(tmp_path) == 2_500


def test_without_groups_there_is_no_quota(tmp_path):
    assert device.cpu_quota(tmp_path) == float("inf")


def test_the_machine_is_described_in_plain_values():
    found = device.describe_machine(torch.device("cpu"))
    assert found["torch"] == torch.__version__ and found["device"].startswith("cpu (")
    assert all(isinstance(value, str | int) for value in found.values())
