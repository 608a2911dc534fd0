"""The device, the number of threads, the precision of matrix products, and free memory."""

import contextlib
import ctypes
import itertools
import math
import os
import platform
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
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
        if not (refusal := _refusal(device)):
            break
        if name != "auto":
            raise Mistake(f"--device {name}: {refusal}; use --device auto")
        if refusal is not ABSENT:
            print(f"note: {device}: {refusal}")
    return torch.device(device)


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
    """Configure torch: threads, deterministic algorithms, denormal numbers, freed memory."""
    undo = UNDO_AT_EXIT.callback  # for notebooks
    undo(torch.set_num_threads, torch.get_num_threads())
    undo(setattr, cudnn, "deterministic", cudnn.deterministic)
    undo(torch.set_flush_denormal, not torch.full((), 1e-40) * 1)  # whether they are flushed now
    undo(torch.set_rng_state, torch.get_rng_state())
    torch.set_num_threads(available_cores())
    cudnn.deterministic = True
    for kind in (np.float32, np.float64):  # numpy before 2.4 warns unless it has looked at them
        np.finfo(kind)
    torch.set_flush_denormal(True)  # arithmetic with numbers below 1e-38 takes a hundred cycles
    # Make glibc keep freed memory: every step frees and allocates the gradients, and new pages take
    # time. Larger blocks are still returned, because figures and scores would increase the peak.
    mmap_threshold, trim_threshold = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    with contextlib.suppress(OSError, AttributeError):  # another system
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 2**22)
        libc.mallopt(trim_threshold, 2**26)


@contextlib.contextmanager
def matrix_products(
    precision: str, device: torch.device, convolutions: bool = False
) -> Iterator[None]:
    """Multiply matrices in `precision`, "float32" or "bfloat16", inside the block.

    With bfloat16 the factors are rounded to 8 bits of mantissa; sums and everything else stay
    float32. CPUs without instructions for it (AVX-512 BF16) use float32. On CUDA both mean TF32,
    with 10 bits, unless feature maps are bfloat16.
    convolutions: where `bfloat16_is_fast`, keep feature maps in bfloat16 too, since converting them
    would take longer than the convolutions.
    """
    low = precision == "bfloat16" and (device.type != "cpu" or _instructions() != "AVX2")
    with contextlib.ExitStack() as stack:
        stack.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        chosen = "medium" if low else "high" if device.type == "cuda" else "highest"
        torch.set_float32_matmul_precision(chosen)
        if low and convolutions and bfloat16_is_fast(device):
            # Weights change within a step, so they must not be cached.
            stack.enter_context(torch.autocast(device.type, torch.bfloat16, cache_enabled=False))
        yield


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Use float32 instead of TF32 inside the block, so that a GPU scores as a CPU does."""
    flags = cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with flags, matrix_products("float32", torch.device("cpu")):
        yield


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the device has units for it: CPUs with AVX-512 BF16, NVIDIA GPUs since Ampere."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    supported = torch.cpu._is_avx512_bf16_supported()  # no public function before torch 2.9
    return device.type == "cpu" and _instructions() == "AVX512" and supported


def _instructions() -> str:
    """The CPU instructions that torch uses, `AVX2` or `AVX512`."""
    return torch.backends.cpu.get_cpu_capability()


def available_cores() -> int:
    """The number of threads to use: OMP_NUM_THREADS, else the cores available to this process."""
    # It may be a list for nested loops, of which the first number counts.
    threads = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if threads.isdecimal() and int(threads):
        return min(int(threads), MAX_THREADS)
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cpu_quota())))


def cpu_quota(root: Path = Path("/")) -> float:
    """The CPU quota of this process's control groups, in cores; infinite without a limit."""
    names = (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us"))
    limits = _limits("cpu", names, root)
    return min((quota / period for _, quota, period in limits if period), default=math.inf)


def _limits(
    controller: str, names: Sequence[Sequence[str]], root: Path
) -> Iterator[tuple[Path, int, int]]:
    """Folder and numbers of each limit of this process's control groups; all limits apply.

    See cgroups(7): in version 2 a process has one group, in version 1 one for each kind of
    controller ("cpu" or "memory"), each nested in others. names: of the files that have the two
    numbers, in each version; "max" or -1 means no limit. root: of the file system.
    """
    folders: set[Path] = set()
    for line in _lines(root / "proc/self/cgroup"):  # `0::/a/b`, or `4:cpu,cpuacct:/a/b`
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        if not controllers or controller in controllers.split(","):
            mount = root / "sys/fs/cgroup" / (controller if controllers else "")
            inner = mount / group.lstrip("/")  # in a container `mount` may be the group itself
            folders |= {each for each in (inner, *inner.parents) if each.is_relative_to(mount)}
    for folder, pair in itertools.product(folders, names):
        words = " ".join(line for name in pair for line in _lines(folder / name)).split()
        if len(words) == 2 and all(word.isdecimal() for word in words):
            yield folder, int(words[0]), int(words[1])


def _lines(path: Path, start: str = "") -> list[str]:
    """The lines of a system file that begin with `start`; [] if it does not exist."""
    with contextlib.suppress(OSError, ValueError):
        return [line for line in path.read_text().splitlines() if line.startswith(start)]
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
    found = [1024 * int(line.split()[1]) for line in _lines(root / "proc/meminfo", "MemAvailable:")]
    names = (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes"))
    for group, most, taken in _limits("memory", names, root):
        # Cached files count as used, but are dropped when memory is needed.
        cached = [int(line.split()[1]) for line in _lines(group / "memory.stat", "inactive_file ")]
        found.append(most - taken + sum(cached))
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
        before, self.before = self.before, cpu_seconds()
        if before is None or self.before is None:
            return False
        total, idle, own = (now - then for now, then in zip(self.before, before, strict=True))
        others = total - idle - own
        return total > 1 and others > total / 4 and idle < total / 10


def cpu_seconds() -> tuple[float, float, float] | None:
    """CPU seconds of all cores: in total, idle, and used by this process.

    None without /proc/stat (see proc_stat(5)), that is on systems other than Linux.
    """
    if not (lines := _lines(Path("/proc/stat"), "cpu ")):
        return None
    # Without the columns of guests, whose time is part of "user".
    seconds = [int(ticks) / os.sysconf("SC_CLK_TCK") for ticks in lines[0].split()[1:9]]
    return sum(seconds), sum(seconds[3:5]), time.process_time()


def describe_machine(device: torch.device) -> dict[str, str | int]:
    """Versions, device, processor and number of cores, for config.json."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    models = [line.partition(": ")[2] for line in _lines(Path("/proc/cpuinfo"), "model name")]
    model = next(iter(models), platform.processor()) or "unknown"
    matrix_units = "AMX" if torch.cpu._is_amx_tile_supported() else "bfloat16"
    units = f", {matrix_units}" if bfloat16_is_fast(torch.device("cpu")) else ""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.system(),
        "device": f"{device.type} ({name})",
        "processor": f"{model} ({_instructions()}{units})",
        "cores": available_cores(),
        **({"processes": processes()} if processes() > 1 else {}),
    }
