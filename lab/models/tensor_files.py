"""Files of tensors, which may come from anywhere and are never trusted.

They are read with `weights_only=True`, and their sizes and shapes are checked before memory is
asked for.
"""

from __future__ import annotations

import hashlib
import io
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lab.errors import Fault
from lab.files import check_room, write_whole

FORMAT_VERSION = 2
MOST_WEIGHT_BYTES = 2**34  # larger than the checkpoint of any networks the options allow
# All that the pickles in the lab's files do: build plain tensors, numbers and text in dictionaries
# and lists. BUILD, which none of them needs, could put foreign attributes on a dictionary.
OWN_OPERATIONS = {
    *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BINPERSID", "NONE", "NEWTRUE", "NEWFALSE"),
    *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
    *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
}
# And all that they name.
OWN_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {kind}Storage" for kind in ("Float", "Double", "Half", "Long", "Byte")),
}


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write what `read_tensors` reads, whole."""
    # By way of memory: when a disk is full, torch.save ends in an error of its own.
    buffer = io.BytesIO()
    try:
        torch.save(content, buffer)
    except RuntimeError as error:  # so it says that there was no memory for more of the buffer
        raise MemoryError from error
    write_whole(path, lambda file: file.write(buffer.getbuffer()))


def plain_state(network: nn.Module, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The network's state on the CPU, in the memory layout that files have.

    dtype: float16 makes of float32 numbers half as many bytes; 11 bits of each are kept.
    """
    return {
        name: tensor.to("cpu", dtype if tensor.dtype == torch.float32 else None).contiguous()
        for name, tensor in network.state_dict().items()
    }


def check_state(path: Path, network: nn.Module, state: Any, halves: bool = False) -> None:
    """Fault unless `state`, found in `path`, is finite and has the network's names and shapes.

    halves: float16 may stand where the network has float32.
    """
    expected = network.state_dict()
    if not isinstance(state, dict) or set(state) != set(expected):
        raise Fault(
            f"{path}: its weights are not those of the {type(network).__name__} it describes"
        )
    for name, tensor in state.items():
        wanted = expected[name]
        if not isinstance(tensor, Tensor) or tensor.shape != wanted.shape:
            found = tuple(getattr(tensor, "shape", ()))
            raise Fault(f"{path}: {name} has shape {found} where {tuple(wanted.shape)} is expected")
        # A view with stride 0 claims more numbers than its file holds: hence the contiguity.
        is_half = halves and (tensor.dtype, wanted.dtype) == (torch.float16, torch.float32)
        fits = is_half or tensor.dtype == wanted.dtype
        if not fits or tensor.is_sparse or not tensor.is_contiguous():
            raise Fault(f"{path}: {name} is {tensor.dtype}, a plain {wanted.dtype} is expected")
        if not torch.isfinite(tensor).all():
            raise Fault(f"{path}: {name} holds NaN or infinity")
        if name.endswith("running_var") and (tensor < 0).any():
            raise Fault(f"{path}: {name} holds a negative variance")


def digest(path: Path) -> str:
    """SHA-256 of a weights file: it tells figures of these weights from those of others.

    Fault if it is not a file, or larger than such a file can be.
    """
    check_room(path, MOST_WEIGHT_BYTES)
    total = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(2**20):
            total.update(part)
    return total.hexdigest()


def read_tensors(
    path: Path, wanted: str, versions: tuple[int, ...] = (FORMAT_VERSION,)
) -> dict[str, Any]:
    """Read a file that `torch.save` made and that calls itself `wanted`; runs no code from it.

    Fault for what is damaged, hostile, of another format, or of none of the `versions`.
    """
    _check_archive(path)
    try:
        _check_pickle(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Fault:
        raise
    except Exception as error:  # a damaged pickle can fail in any way there is
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise Fault(f"{path}: damaged, or not made by the lab ({reason})") from None
    found = content.get("format") if isinstance(content, dict) else None
    if found != wanted:
        known = found if isinstance(found, str) and found else "something else"
        raise Fault(f"{path}: a {wanted!r} file was expected, this is {known!r}")
    version = content.get("version")  # may be a tensor, which is neither true nor false
    if type(version) is not int or version not in versions:
        read = " and ".join(map(str, versions))
        raise Fault(f"{path}: is of another version of the lab; this one reads version {read}")
    return content


def _check_archive(path: Path) -> None:
    """Refuse what is not a zip archive of honest size before torch opens it."""
    check_room(path, MOST_WEIGHT_BYTES)
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\3\4":  # torch would take it for its older format
                raise zipfile.BadZipFile
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        raise Fault(f"{path}: truncated, or not a weights file made by the lab") from None
    unpacked = sum(entry.file_size for entry in entries)
    # torch.save stores without compression: content larger than its file is a bomb.
    if unpacked > path.stat().st_size or len(entries) > 10_000:
        raise Fault(f"{path}: announces {unpacked:,} bytes of content, more than such a file holds")


def _check_pickle(path: Path) -> None:
    """Refuse a pickle that asks for anything but plain tensors in dictionaries.

    `weights_only=True` runs no foreign code, but a hundred bytes can still have it make a bytearray
    of any size, or hash tuples of tuples of tuples for hours.
    """
    with zipfile.ZipFile(path) as archive:
        # torch.load reads one record of this name: with two it might read the other.
        found = [entry for entry in archive.infolist() if entry.filename.endswith("data.pkl")]
        if len(found) != 1:
            raise Fault(f"{path}: not made by the lab ({len(found)} pickles in it)")
        pickled = archive.read(found[0])
    kinds, last = {}, ""  # which operation made each remembered object; the last operation
    for operation, argument, _ in pickletools.genops(pickled):
        if operation.name not in OWN_OPERATIONS:
            raise Fault(f"{path}: not made by the lab (its pickle does {operation.name})")
        if operation.name == "GLOBAL" and argument not in OWN_GLOBALS:
            raise Fault(f"{path}: not made by the lab (it asks for {argument})")
        if operation.name.endswith("PUT"):
            kinds[argument] = last
        elif operation.name.endswith("GET") and kinds.get(argument) not in ("GLOBAL", "BINUNICODE"):
            raise Fault(f"{path}: not made by the lab (its objects are shared among themselves)")
        last = operation.name
