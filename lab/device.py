"""The device, the number of threads, the precision of matrix products, and free memory."""

import contextlib
import ctypes
import functools
import math
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.backends import cudnn

from lab.errors import UNDO_AT_EXIT, Mistake

PRECISIONS = ("float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda", "mps")
ABSENT = "this machine has none"
MAX_MEMORY_SHARE = 0.6  # largest share of the free memory for a data set
MAX_THREADS = 1_024  # OMP_NUM_THREADS may be too large for torch


def pick_device(name: str) -> torch.device:
    """The device; `auto` is CUDA, else Apple's MPS, else the CPU. Mistake if it is unusable."""
    for device in ("cuda", "mps", "cpu") if name == "auto" else (name,):
        refusal = _refusal(device)
        if not refusal:
            return torch.device(device)
        if name != "auto":
            raise Mistake(f"--device {name}: {refusal}; use --device auto")
        if refusal is not ABSENT:
            print(f"note: {device}: {refusal}")
    raise AssertionError("a CPU is always usable")


def _refusal(device: str) -> str | None:
    is_available = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if device in is_available and not is_available[device]():
        return ABSENT
    try:
        torch.ones(1, device=device).add_(1).item()
    except RuntimeError as error:  # a GPU that is too old for this torch, or in exclusive use
        return f"torch cannot use it ({str(error).splitlines()[0]})"
    return None


def processes() -> int:
    """The number of processes that train together, started by torchrun."""
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if several else 1


def set_up_torch() -> None:
    """Configure torch: number of threads, deterministic algorithms, no denormal numbers.

    `run_script` restores the former settings at the end, for notebooks.
    """
    denormals = bool(torch.full((), 1e-40) * 1)
    for restore, value in (
        (torch.set_num_threads, torch.get_num_threads()),
        (functools.partial(setattr, cudnn, "deterministic"), cudnn.deterministic),
        (torch.set_flush_denormal, not denormals),
        (torch.set_rng_state, torch.get_rng_state()),
    ):
        UNDO_AT_EXIT.callback(restore, value)
    torch.set_num_threads(available_cores())
    cudnn.deterministic = True
    keep_freed_memory()
    torch.set_flush_denormal(True)  # arithmetic with numbers below 1e-38 takes a hundred cycles


@contextlib.contextmanager
def matrix_products(
    precision: str, device: torch.device, convolutions: bool = False
) -> Iterator[None]:
    """Multiply matrices in `precision`, "float32" or "bfloat16", inside the block.

    With bfloat16 the factors are rounded to 8 bits of mantissa; sums and everything else stay
    float32. CPUs without instructions for it (AMX, AVX-512 BF16) use float32. On CUDA both mean
    TF32, with 10 bits, unless feature maps are bfloat16.
    convolutions: where `bfloat16_is_fast`, keep feature maps in bfloat16 too, since converting them
    would take longer than the convolutions.
    """
    low = precision == "bfloat16" and (device.type != "cpu" or _instructions() != "AVX2")
    matmul_precision = "medium" if low else "high" if device.type == "cuda" else "highest"
    autocast: contextlib.AbstractContextManager = contextlib.nullcontext()
    if low and convolutions and bfloat16_is_fast(device):
        # Weights change within a step, so they must not be cached.
        autocast = torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
    with _matmul_precision(matmul_precision), autocast:
        yield


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Use float32 instead of TF32 inside the block, so that a GPU scores as a CPU does."""
    flags = cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with _matmul_precision("highest"), flags:
        yield


@contextlib.contextmanager
def _matmul_precision(precision: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the device has matrix units for it: CPUs with AMX, NVIDIA GPUs since Ampere."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    return device.type == "cpu" and _instructions() == "AVX512" and _processor_has_amx()


def _instructions() -> str:
    """The CPU instructions that torch uses, `AVX2` or `AVX512`."""
    return torch.backends.cpu.get_cpu_capability()


@functools.cache
def _processor_has_amx() -> bool:
    """Whether the CPU has matrix units (AMX)."""
    if hasattr(torch.cpu, "get_capabilities"):  # torch 2.9 or newer
        return bool(torch.cpu.get_capabilities().get("amx_tile"))
    return torch.cpu._is_amx_tile_supported()


def keep_freed_memory() -> None:
    """Make glibc keep freed memory instead of returning it to the system; otherwise do nothing.

    Every step frees and allocates the gradients, and new pages take time. Larger blocks than
    gradients are still returned, because figures and scores would increase the peak otherwise.
    """
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 2**22)
        libc.mallopt(trim_threshold, 2**26)


def available_cores() -> int:
    """The number of threads to use: OMP_NUM_THREADS, else the cores available to this process.

    These are limited by CPU affinity and by a container's CPU quota. OMP_NUM_THREADS may be a list
    for nested loops, of which the first number counts.
    """
    threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if threads.isdecimal() and int(threads):
        return min(int(threads), MAX_THREADS)
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cpu_quota())))


def cpu_quota(root: Path = Path("/")) -> float:
    """The CPU quota of this process's control groups, in cores; infinite without a limit."""
    quotas = [math.inf]
    for folder in control_groups("cpu", root):
        for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):  # version 2, 1
            words = " ".join(text for name in names for text in _lines(folder / name)).split()
            if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
                quotas.append(int(words[0]) / int(words[1]))  # else "max" or -1: no limit
    return min(quotas)


def control_groups(controller: str, root: Path) -> set[Path]:
    """The folders of this process's control groups for "cpu" or "memory"; the limits of all apply.

    See cgroups(7): in version 2 a process has one group, in version 1 one for each kind of
    controller, each nested in others. root: of the file system.
    """
    folders: set[Path] = set()
    for line in _lines(root / "proc/self/cgroup"):  # `0::/a/b`, or `4:cpu,cpuacct:/a/b`
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (controller if controllers else "")
        innermost = mount / group.lstrip("/")  # in a container `mount` may be the group itself
        outer = {each for each in innermost.parents if mount in each.parents}
        folders |= {mount, innermost} | outer
    return folders


def _lines(path: Path) -> list[str]:
    """The lines of a system file; [] if it does not exist."""
    with contextlib.suppress(OSError, ValueError):
        return path.read_text().splitlines()
    return []


def check_memory(count: int, size: int, said: str) -> None:
    """Mistake if `count` images of `size` bytes need more than 60 % of the free memory.

    said: the option with the images, as typed.
    """
    free = free_memory()
    if free is not None and count * size > MAX_MEMORY_SHARE * free:
        fit = int(MAX_MEMORY_SHARE * free / size)
        raise Mistake(
            f"{said}: {count:,} images take {count * size / 1e9:.1f} GB and {free / 1e9:.1f} GB of "
            f"memory are free: {fit:,} of them would fit; give fewer, or smaller ones"
        )


def free_memory(root: Path = Path("/")) -> int | None:
    """Free memory of the machine and its control groups in bytes; None if unknown."""
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        words = (root / "proc/meminfo").read_text().partition("MemAvailable:")[2].split()
        found.append(1024 * int(words[0]))
    for group in control_groups("memory", root):
        for names in (("max", "current"), ("limit_in_bytes", "usage_in_bytes")):  # version 2, 1
            with contextlib.suppress(OSError, ValueError, IndexError):  # no file, or no limit
                most, taken = (int((group / f"memory.{name}").read_text()) for name in names)
                # Cached files count as used, but are dropped when memory is needed.
                cached = (group / "memory.stat").read_text().partition("inactive_file ")[2]
                found.append(most - taken + int(cached.split()[0]))
    return max(0, min(found)) if found else None


class Contention:
    """Detects whether other programs use the CPU cores.

    The threads of a matrix product wait for each other. If another program uses one of their cores,
    the waiting threads keep the other cores busy.
    """

    def __init__(self) -> None:
        self.before = cpu_seconds()

    def is_crowded(self) -> bool:
        """Whether others used over a quarter of all cores since the last call, with little idle."""
        now, before = cpu_seconds(), self.before
        self.before = now
        if now is None or before is None:
            return False
        total, idle, own = (after - start for after, start in zip(now, before, strict=True))
        others = total - idle - own
        return total > 1 and others > total / 4 and idle < total / 10


def cpu_seconds() -> tuple[float, float, float] | None:
    """CPU seconds of all cores: in total, idle, and used by this process.

    None without /proc/stat (see proc_stat(5)), that is on systems other than Linux.
    """
    try:
        first_line = Path("/proc/stat").read_text().partition("\n")[0]
        ticks = [int(count) for count in first_line.split()[1:9]]  # "user" includes guests
        tick = 1 / os.sysconf("SC_CLK_TCK")
        return sum(ticks) * tick, (ticks[3] + ticks[4]) * tick, time.process_time()
    except (OSError, ValueError, IndexError):
        return None


def describe_machine(device: torch.device) -> dict[str, str | int]:
    """Versions, device, processor and number of cores, for config.json."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    models = [line for line in _lines(Path("/proc/cpuinfo")) if "model name" in line]
    model = (models and models[0].partition(": ")[2]) or platform.processor() or "unknown"
    units = ", AMX" if bfloat16_is_fast(torch.device("cpu")) else ""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.system(),
        "device": f"{device.type} ({name})",
        "processor": f"{model} ({_instructions()}{units})",
        "cores": available_cores(),
        **({"processes": processes()} if processes() > 1 else {}),
    }
