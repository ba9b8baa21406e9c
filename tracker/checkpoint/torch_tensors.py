"""PyTorch's tensors as `TensorData` and back; used only where the program itself has loaded PyTorch."""

from __future__ import annotations

import sys
from functools import cache
from typing import TYPE_CHECKING, Any

from tracker.checkpoint.tensors import TensorData, memory_order

if TYPE_CHECKING:
    import torch

_NAMES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "uint32": "U32", "int32": "I32",
    "uint64": "U64", "int64": "I64", "float16": "F16", "bfloat16": "BF16", "float32": "F32", "float64": "F64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip
_IN_NUMPY = _NAMES.keys() - {"bfloat16", "float8_e4m3fn", "float8_e5m2"}
_LARGE_BYTES = 1 << 20
_COMPLEX = {"complex32", "complex64", "complex128"}


def loaded_torch() -> Any:
    """The module ``torch`` when the program has imported it, else ``None``; a program without it never pays for it."""
    return sys.modules.get("torch")


def is_installed() -> bool:
    """Whether PyTorch can be imported; without it, its tensors are read as arrays of NumPy."""
    from importlib.util import find_spec

    return loaded_torch() is not None or find_spec("torch") is not None


def is_torch_tensor(value: Any) -> bool:
    torch = loaded_torch()
    return torch is not None and isinstance(value, torch.Tensor)


def from_torch(tensor: torch.Tensor) -> tuple[TensorData, dict[str, Any]]:
    """A copy of a tensor on the host, and what else must be known to build it again.

    Waits for the accelerator. ``ValueError`` for tensors whose values are not a strided block of memory (sparse,
    quantized, nested, meta) and for subclasses that say more than their values.
    """
    name = dtype_name(tensor.dtype)
    if not _is_strided(tensor) or name not in _NAMES.keys() | _COMPLEX:
        raise ValueError("is no strided tensor of numbers")
    about, plain = _about(tensor, name), tensor.detach()
    if name in _IN_NUMPY and plain.nbytes < _LARGE_BYTES and plain.is_cpu and _is_ordinary(plain):
        return TensorData(_NAMES[name], tuple(plain.shape), plain.numpy().tobytes()), about
    if axes := memory_order(tuple(plain.stride()), tuple(plain.shape)):
        about["axes"], plain = axes, plain.permute(axes)
    data = _copy(plain)
    if name in _COMPLEX:
        return TensorData("U8", (len(data),), data), about | {"shape": list(plain.shape)}
    return TensorData(_NAMES[name], tuple(plain.shape), data), about


def _is_strided(tensor: torch.Tensor) -> bool:
    import torch

    is_known = type(tensor) in {torch.Tensor, torch.nn.Parameter, getattr(torch.nn, "Buffer", torch.Tensor)}
    return is_known and tensor.layout is torch.strided and not tensor.is_quantized and not tensor.is_meta


def _is_ordinary(tensor: torch.Tensor) -> bool:
    return tensor.is_contiguous() and not tensor.is_neg()


def _copy(plain: torch.Tensor) -> memoryview | bytes:
    """The bytes of a tensor on the host; PyTorch copies large ones with several threads."""
    import torch

    if not plain.numel():
        return b""
    copy = torch.empty(plain.shape, dtype=plain.dtype).copy_(plain)
    return memoryview(copy.reshape(-1).view(torch.uint8).numpy()).toreadonly()  # type: ignore[arg-type]


def _about(tensor: torch.Tensor, name: str) -> dict[str, Any]:
    import torch

    about: dict[str, Any] = {"torch": name}
    if not tensor.is_cpu:
        about["device"] = str(tensor.device)
    if isinstance(tensor, torch.nn.Parameter):
        about["parameter"] = True
    if tensor.requires_grad:
        about["requires_grad"] = True
    return about


def to_torch(data: TensorData, about: dict[str, Any]) -> torch.Tensor:
    """A new tensor on its device where this machine has it, else on the host."""
    import torch

    dtype = dtype_from_name(about["torch"])
    shape = [int(size) for size in about.get("shape", data.shape)]
    buffer = bytearray(data.data)
    tensor = torch.frombuffer(buffer, dtype=dtype).reshape(shape) if buffer else torch.empty(shape, dtype=dtype)
    if "axes" in about:
        axes = [int(axis) for axis in about["axes"]]
        tensor = tensor.permute(sorted(range(len(axes)), key=axes.__getitem__))
    tensor = tensor.to(usable_device(str(about.get("device", "cpu"))))
    wants_grad = bool(about.get("requires_grad"))
    if about.get("parameter"):
        return torch.nn.Parameter(tensor, requires_grad=wants_grad)
    return tensor.requires_grad_(wants_grad) if wants_grad else tensor


def copy_into(existing: torch.Tensor, fresh: torch.Tensor) -> bool:
    """Write values into an existing tensor, so that whatever shares it sees them; ``False`` where it does not fit."""
    import torch

    fits = (existing.dtype, existing.shape, type(existing)) == (fresh.dtype, fresh.shape, type(fresh))
    if not fits or existing.device != fresh.device or existing.is_inference():
        return False
    if existing.requires_grad != fresh.requires_grad:
        if not existing.is_leaf:
            return False
        existing.requires_grad_(fresh.requires_grad)
    if existing.numel() and existing.grad_fn is not None:
        return False  # it belongs to a graph: a program that goes on with it must not find other values in it
    with torch.no_grad():
        existing.copy_(fresh)
    return True


def usable_device(name: str) -> torch.device:
    """The device of this name when this machine has it, else the host."""
    import torch

    device = torch.device(name)
    if device.type == "cuda":
        is_here = torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count()
    else:
        is_here = device.type == "cpu" or (device.type == "mps" and torch.backends.mps.is_available())
    return device if is_here else torch.device("cpu")


@cache
def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def dtype_from_name(name: str) -> torch.dtype:
    """The dtype of this name; ``ValueError`` for anything else that PyTorch may call so."""
    import torch

    if name not in _NAMES.keys() | _COMPLEX:
        raise ValueError(f"{name!r} is not a dtype")
    found: torch.dtype = getattr(torch, name)
    return found
