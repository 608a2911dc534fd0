"""Reading and writing of tensor files. Files are not trusted, since they may come from anywhere.

They are read with `weights_only=True`, after their sizes were checked.
"""

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
MAX_WEIGHT_BYTES = 2**34  # larger than any checkpoint
# The pickle operations in the lab's files, which build tensors, numbers and text in dictionaries
# and lists. BUILD is not among them; it could set attributes of a dictionary.
OWN_OPERATIONS = {
    *("PROTO", "STOP", "MARK", "GLOBAL", "REDUCE", "BINPERSID", "NONE", "NEWTRUE", "NEWFALSE"),
    *("EMPTY_DICT", "SETITEM", "SETITEMS", "EMPTY_LIST", "APPEND", "APPENDS"),
    *("EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
    *("BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET"),
}
# The names that these pickles import.
OWN_GLOBALS = {
    "collections OrderedDict",
    "torch._utils _rebuild_tensor_v2",
    *(f"torch {kind}Storage" for kind in ("Float", "Double", "Half", "Long", "Byte")),
}


def write_tensors(path: Path, content: dict[str, Any]) -> None:
    """Write a file for `read_tensors`, atomically."""
    # Through memory, because torch.save does not raise OSError when a disk is full.
    buffer = io.BytesIO()
    try:
        torch.save(content, buffer)
    except RuntimeError as error:  # there is no memory for a larger buffer
        raise MemoryError from error
    write_whole(path, lambda file: file.write(buffer.getbuffer()))


def plain_state(network: nn.Module, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    """The network's state_dict on the CPU, contiguous, with float32 converted to `dtype`."""
    return {
        name: tensor.to("cpu", dtype if tensor.dtype == torch.float32 else None).contiguous()
        for name, tensor in network.state_dict().items()
    }


def check_state(path: Path, network: nn.Module, state: Any) -> None:
    """Fault unless `state` in the file `path` is a finite state_dict of the network, or float16."""
    expected = network.state_dict()
    if not isinstance(state, dict) or set(state) != set(expected):
        kind = type(network).__name__
        raise Fault(f"{path}: its weights are not those of the {kind} it describes")
    for name, tensor in state.items():
        wanted = expected[name]
        if not isinstance(tensor, Tensor) or tensor.shape != wanted.shape:
            found = tuple(getattr(tensor, "shape", ()))
            raise Fault(f"{path}: {name} has shape {found} where {tuple(wanted.shape)} is expected")
        # Contiguous, because a view with stride 0 can be larger than its file.
        is_half = (tensor.dtype, wanted.dtype) == (torch.float16, torch.float32)
        fits = is_half or tensor.dtype == wanted.dtype
        if not fits or tensor.is_sparse or not tensor.is_contiguous():
            raise Fault(f"{path}: {name} is {tensor.dtype}, a plain {wanted.dtype} is expected")
        if not torch.isfinite(tensor).all():
            raise Fault(f"{path}: {name} holds NaN or infinity")
        if name.endswith("running_var") and (tensor < 0).any():
            raise Fault(f"{path}: {name} holds a negative variance")


def digest(path: Path) -> str:
    """SHA-256 of a weights file. Fault if it is not a file, or too large."""
    check_room(path, MAX_WEIGHT_BYTES)
    total = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(2**20):
            total.update(part)
    return total.hexdigest()


def read_tensors(
    path: Path, wanted: str, versions: tuple[int, ...] = (FORMAT_VERSION,)
) -> dict[str, Any]:
    """Read a file of `torch.save` whose "format" is `wanted`, without running code from it.

    Fault if it is damaged or hostile, or of another format or version.
    """
    _check_archive(path)
    try:
        _check_pickle(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Fault:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise Fault(f"{path}: damaged, or not made by the lab ({reason})") from None
    found = content.get("format") if isinstance(content, dict) else None
    if found != wanted:
        known = found if isinstance(found, str) and found else "something else"
        raise Fault(f"{path}: a {wanted!r} file was expected, this is {known!r}")
    version = content.get("version")  # may be of any type, even a tensor
    if type(version) is not int or version not in versions:
        read = " and ".join(map(str, versions))
        raise Fault(f"{path}: is of another version of the lab; this one reads version {read}")
    return content


def _check_archive(path: Path) -> None:
    """Fault unless the file is a zip archive that does not unpack to more than its size."""
    check_room(path, MAX_WEIGHT_BYTES)
    try:
        with path.open("rb") as file:
            if file.read(4) != b"PK\3\4":  # torch would try its old format
                raise zipfile.BadZipFile
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError):
        raise Fault(f"{path}: truncated, or not a weights file made by the lab") from None
    unpacked = sum(entry.file_size for entry in entries)
    # torch.save does not compress, so larger content means a zip bomb.
    if unpacked > path.stat().st_size or len(entries) > 10_000:
        raise Fault(f"{path}: claims {unpacked:,} bytes of content, more than such a file has")


def _check_pickle(path: Path) -> None:
    """Fault unless the pickle only builds plain tensors, numbers and text in dictionaries.

    `weights_only=True` runs no foreign code, but a hundred bytes can still make it allocate a
    bytearray of any size, or hash nested tuples for hours.
    """
    with zipfile.ZipFile(path) as archive:
        # With two records of this name torch.load might read the other one.
        found = [entry for entry in archive.infolist() if entry.filename.endswith("data.pkl")]
        if len(found) != 1:
            raise Fault(f"{path}: not made by the lab ({len(found)} pickles in it)")
        pickled = archive.read(found[0])
    kinds, last = {}, ""  # the operation that made each memoised object; the previous operation
    for operation, argument, _ in pickletools.genops(pickled):
        if operation.name not in OWN_OPERATIONS:
            raise Fault(f"{path}: not made by the lab (its pickle does {operation.name})")
        if operation.name == "GLOBAL" and argument not in OWN_GLOBALS:
            raise Fault(f"{path}: not made by the lab (it asks for {argument})")
        if operation.name.endswith("PUT"):
            kinds[argument] = last
        elif operation.name.endswith("GET") and kinds.get(argument) not in ("GLOBAL", "BINUNICODE"):
            raise Fault(f"{path}: not made by the lab (its objects refer to each other)")
        last = operation.name
