"""Where to compute: the device, how many cores are ours, the precision of matrix products."""

from __future__ import annotations

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
MOST_OF_MEMORY = 0.6  # of what is free, for a set
MOST_THREADS = 1_024  # torch takes no number beyond 32 bits


def pick_device(name: str) -> torch.device:
    """`auto` is CUDA, else Apple's MPS, else the CPU. Mistake if the named one is of no use."""
    for device in ("cuda", "mps", "cpu") if name == "auto" else (name,):
        refusal = _refusal(device)
        if not refusal:
            return torch.device(device)
        if name != "auto":
            raise Mistake(f"--device {name}: {refusal}; use --device auto")
        if refusal is not ABSENT:
            print(f"note: {device}: {refusal}")
    raise AssertionError("a CPU is always of use")


def _refusal(device: str) -> str | None:
    """Why nothing can be computed there; None if it can."""
    here = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if device in here and not here[device]():
        return ABSENT
    try:
        torch.ones(1, device=device).add_(1).item()
    except RuntimeError as error:  # a GPU too old for this torch, or one that another program has
        return f"torch cannot use it ({str(error).splitlines()[0]})"
    return None


def processes() -> int:
    """How many processes train together; torchrun starts them."""
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if several else 1


def set_up_torch() -> None:
    """Set torch up: all cores that are ours, freed memory kept, no denormals, nothing random.

    `run_script` puts back in the end what can be: a notebook goes on with torch.
    """
    denormals = bool(torch.full((), 1e-40) * 1)
    for put_back, before in (
        (torch.set_num_threads, torch.get_num_threads()),
        (functools.partial(setattr, cudnn, "deterministic"), cudnn.deterministic),
        (torch.set_flush_denormal, not denormals),
        (torch.set_rng_state, torch.get_rng_state()),
    ):
        UNDO_AT_EXIT.callback(put_back, before)
    torch.set_num_threads(available_cores())
    cudnn.deterministic = True  # a GPU's convolutions, too, give the same bytes
    keep_freed_memory()
    # Numbers below 1e-38 cost the CPU a hundred cycles each and mean nothing here.
    torch.set_flush_denormal(True)


@contextlib.contextmanager
def matrix_products(
    precision: str, device: torch.device, convolutions: bool = False
) -> Iterator[None]:
    """Within it matrices are multiplied in `precision`, "float32" or "bfloat16", as fast as can be.

    With bfloat16, factors are rounded to 8 bits of mantissa, sums and everything else stay float32;
    a processor without units for it (AMX, AVX-512 BF16) goes on in float32. On CUDA both mean TF32,
    with 10 bits.
    convolutions: what lies between them is kept in bfloat16, too; converting maps to and fro would
    take longer than the convolutions themselves. Only where `bfloat16_is_fast`.
    """
    low = precision == "bfloat16" and (device.type != "cpu" or _instructions() != "AVX2")
    fast = "medium" if low else "high" if device.type == "cuda" else "highest"
    whole: contextlib.AbstractContextManager = contextlib.nullcontext()
    if low and convolutions and bfloat16_is_fast(device):
        # No cache: weights change within a step, and it would go on with the old ones.
        whole = torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
    with _float32_products(fast), whole:
        yield


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Within it CUDA multiplies float32 in full, not TF32: a GPU scores and shows as a CPU does."""
    flags = cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with _float32_products("highest"), flags:
        yield


@contextlib.contextmanager
def _float32_products(precision: str) -> Iterator[None]:
    """Within it torch multiplies float32 matrices so, by one of its words for it."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether this is a CPU with matrix units (AMX); on others bfloat16 gains nothing."""
    return device.type == "cpu" and _instructions() == "AVX512" and _processor_has_amx()


def _instructions() -> str:
    """What torch's own kernels use, `AVX2` or `AVX512`; ATEN_CPU_CAPABILITY may ask for less."""
    return torch.backends.cpu.get_cpu_capability()


@functools.cache
def _processor_has_amx() -> bool:
    """Whether the CPU has tiles for matrices; torch before 2.9 cannot be asked in public."""
    if hasattr(torch.cpu, "get_capabilities"):
        return bool(torch.cpu.get_capabilities().get("amx_tile"))
    return torch.cpu._is_amx_tile_supported()


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next step instead of giving it back to the system.

    Gradients are freed and asked for again every step, and fetching their pages anew takes time.
    Blocks larger than any gradient of the usual widths still go back, or pictures and scores would
    add to the peak. Elsewhere than on glibc this does nothing.
    """
    mmap_threshold, trim_threshold = -3, -1  # names of the parameters in malloc.h
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 2**22)
        libc.mallopt(trim_threshold, 2**26)


def available_cores() -> int:
    """Cores this process may use: its affinity, and a container's CPU quota where there is one.

    OMP_NUM_THREADS, where it is set, is somebody's decision and stands; of a list, one number for
    each level of nested loops, the first.
    """
    decided = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if decided.isdecimal() and int(decided):
        return min(int(decided), MOST_THREADS)
    has_affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, cpu_quota())))


def cpu_quota(root: Path = Path("/")) -> float:
    """Cores that the control groups around this process leave it; infinite without a limit.

    Each group limits those inside it, so the least counts. See cgroups(7): of version 2 a process
    has one group, of version 1 one for each kind of controller. root: of the file system.
    """
    quotas = [math.inf]
    for line in _lines(root / "proc/self/cgroup"):  # `0::/a/b`, or `4:cpu,cpuacct:/a/b`
        _, controllers, group = (*line.split(":", 2), "", "")[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        place = mount / group.lstrip("/")
        # In a container `mount` may be its own group, whatever the group's name says.
        for folder in {mount, place, *(each for each in place.parents if mount in each.parents)}:
            names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
            words = " ".join(text for name in names for text in _lines(folder / name)).split()
            if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]):
                quotas.append(int(words[0]) / int(words[1]))  # else "max" or -1: no limit
    return min(quotas)


def _lines(path: Path) -> list[str]:
    """The lines of one of the system's files; none where there is no such file."""
    try:
        return path.read_text().splitlines()
    except (OSError, ValueError):
        return []


def check_memory(count: int, size: int, said: str) -> None:
    """Mistake if `count` images of `size` bytes are more than 60 % of the memory that is free.

    said: the option that named them.
    """
    free = free_memory()
    if free is not None and count * size > MOST_OF_MEMORY * free:
        fit = int(MOST_OF_MEMORY * free / size)
        raise Mistake(
            f"{said}: {count:,} images take {count * size / 1e9:.1f} GB and {free / 1e9:.1f} GB of "
            f"memory are free: {fit:,} of them would fit; give fewer, or smaller ones"
        )


def free_memory() -> int | None:
    """Bytes that the machine and its container leave this process; None where it does not say."""
    names_by_group = {  # of version 2, and of version 1
        Path("/sys/fs/cgroup"): ("memory.max", "memory.current"),
        Path("/sys/fs/cgroup/memory"): ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    }
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        words = Path("/proc/meminfo").read_text().partition("MemAvailable:")[2].split()
        found.append(1024 * int(words[0]))
    for group, names in names_by_group.items():
        # There may be no such group, or its limit may read "max".
        with contextlib.suppress(OSError, ValueError, IndexError):
            # Files that were read count as used, and are given up when memory is asked for.
            cached = (group / "memory.stat").read_text().partition("inactive_file ")[2].split()[0]
            most, taken = (int((group / name).read_text()) for name in names)
            found.append(most - taken + int(cached))
    return max(0, min(found)) if found else None


class Contention:
    """Whether other programs have been using the cores since this was last asked.

    Threads that share their cores with another program wait for each other at every product of
    matrices, and while they wait they use the core that the other would need.
    """

    def __init__(self) -> None:
        self.before = cpu_seconds()

    def is_crowded(self) -> bool:
        """Whether others had more than a quarter of all cores, and hardly any core was idle."""
        now, before = cpu_seconds(), self.before
        self.before = now
        if now is None or before is None:
            return False
        whole, idle, own = (after - start for after, start in zip(now, before, strict=True))
        others = whole - idle - own
        return whole > 1 and others > whole / 4 and idle < whole / 10


def cpu_seconds() -> tuple[float, float, float] | None:
    """Seconds of all cores since the machine began, those idle, and those this process used.

    None where there is no /proc/stat (see proc_stat(5)), as on all systems but Linux.
    """
    try:
        first_line = Path("/proc/stat").read_text().partition("\n")[0]
        ticks = [int(count) for count in first_line.split()[1:9]]  # what guests use is in "user"
        tick = 1 / os.sysconf("SC_CLK_TCK")
        return sum(ticks) * tick, (ticks[3] + ticks[4]) * tick, time.process_time()
    except (OSError, ValueError, IndexError):
        return None


def describe_machine(device: torch.device) -> dict[str, str | int]:
    """What made a figure: versions, device, processor and cores, for config.json."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    units = ", AMX" if bfloat16_is_fast(torch.device("cpu")) else ""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.system(),
        "device": f"{device.type} ({name})",
        "processor": f"{_processor_name()} ({_instructions()}{units})",
        "cores": available_cores(),
        **({"processes": processes()} if processes() > 1 else {}),
    }


def _processor_name() -> str:
    """The processor's own name, where Linux tells it."""
    said = [line for line in _lines(Path("/proc/cpuinfo")) if "model name" in line]
    return (said and said[0].partition(": ")[2]) or platform.processor() or "unknown"
