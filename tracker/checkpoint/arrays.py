"""Nodes of NumPy's and PyTorch's values; neither library is imported before a program or a state needs it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from tracker.checkpoint import tensors, torch_tensors
from tracker.checkpoint.tensors import TensorData
from tracker.checkpoint.torch_tensors import loaded_torch

Node = dict[str, Any]
_BIT_GENERATORS = {"PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"}


def write(value: Any, spend: Callable[[int], None], add: Callable[[TensorData], int]) -> Node | None:
    """The node of an array, a tensor, or one of the small values around them; ``None`` for anything else.

    ``spend`` is told the size of a tensor before it is copied. ``ValueError`` for arrays that have no such form.
    """
    numpy, torch = sys.modules.get("numpy"), loaded_torch()
    if numpy is not None and type(value) is numpy.ndarray and not value.dtype.hasobject:
        tensors.dtype_text(value.dtype)
        spend(value.nbytes)
        data, about = tensors.from_numpy(value)
        return {"$tensor": add(data), **about}
    if numpy is not None and (node := _write_small(value, numpy)):
        return node
    if torch is None or not type(value).__module__.startswith("torch"):
        return None
    if isinstance(value, torch.Tensor):
        spend(value.numel() * value.element_size())
        data, about = torch_tensors.from_torch(value)
        return {"$tensor": add(data), **about}
    return _write_torch(value, torch)


def _write_small(value: Any, numpy: Any) -> Node | None:
    if isinstance(value, numpy.generic) and not value.dtype.hasobject:
        return {"$scalar": value.tobytes().hex(), "dtype": tensors.dtype_text(value.dtype)}
    if isinstance(value, numpy.dtype):
        return {"$dtype": tensors.dtype_text(value)}
    return None


def _write_torch(value: Any, torch: Any) -> Node | None:
    if type(value) is torch.Size:
        return {"$size": list(value)}
    if isinstance(value, torch.dtype):
        torch_tensors.dtype_from_name(torch_tensors.dtype_name(value))
        return {"$torch_dtype": torch_tensors.dtype_name(value)}
    if isinstance(value, torch.device):
        return {"$device": str(value)}
    return None


def read(mark: str, node: Node, tensor: Callable[[int], TensorData]) -> Any:
    """A new value from a node that `write` made."""
    import numpy as np

    if mark == "$tensor":
        data = tensor(node["$tensor"])
        has_torch = "torch" in node and torch_tensors.is_installed()
        return torch_tensors.to_torch(data, node) if has_torch else tensors.to_numpy(data, node)
    if mark == "$scalar":
        dtype, held = tensors.dtype_from_text(node["dtype"]), bytes.fromhex(node["$scalar"])
        if dtype.itemsize not in {0, len(held)}:
            raise ValueError(f"{len(held)} bytes for {dtype}")
        return np.frombuffer(held, dtype).copy()[0] if dtype.itemsize else np.zeros((), dtype)[()]
    if mark == "$dtype":
        return tensors.dtype_from_text(node["$dtype"])
    if mark == "$torch_dtype":
        return torch_tensors.dtype_from_name(node["$torch_dtype"])
    import torch

    if mark == "$size":
        return torch.Size([int(size) for size in node["$size"]])
    return torch.device(node["$device"])


MARKS = {"$tensor", "$scalar", "$dtype", "$torch_dtype", "$size", "$device"}


def has_object_items(value: Any) -> bool:
    """Whether a value is an ordinary array whose items are Python objects."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and type(value) is numpy.ndarray and value.dtype == object


def read_objects(items: list[Any], shape: list[int]) -> Any:
    """An array of Python objects."""
    import numpy as np

    array = np.empty(len(items), object)
    for number, item in enumerate(items):
        array[number] = item
    return array.reshape([int(size) for size in shape])


def copy_into(existing: Any, fresh: Any) -> bool:
    """Write a new array's values into an existing one; ``False`` where it has another form or is not to be written."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and type(existing) is numpy.ndarray and type(fresh) is numpy.ndarray:
        fits = existing.dtype == fresh.dtype and existing.shape == fresh.shape and existing.flags.writeable
        if not fits or _order(existing) != _order(fresh) or _is_file(existing):
            return False
        numpy.copyto(existing, fresh)
        return True
    is_tensor = torch_tensors.is_torch_tensor(existing) and torch_tensors.is_torch_tensor(fresh)
    return is_tensor and torch_tensors.copy_into(existing, fresh)


def _is_file(array: Any) -> bool:
    """Whether an array is a view of a mapped file: writing into it would change the file."""
    import mmap

    while array is not None and not isinstance(array, mmap.mmap):
        array = array.obj if isinstance(array, memoryview) else getattr(array, "base", None)
    return array is not None


def _order(array: Any) -> list[int] | None:
    return tensors.memory_order(array.strides, array.shape)


def memory_range(value: Any) -> tuple[int, int] | None:
    """First and last address of an array's memory on the host; ``None`` for anything else."""
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, numpy.ndarray) and value.size:
        first = value.__array_interface__["data"][0]
        low = sum(stride * (size - 1) for stride, size in zip(value.strides, value.shape, strict=True) if stride < 0)
        high = sum(stride * (size - 1) for stride, size in zip(value.strides, value.shape, strict=True) if stride > 0)
        return first + low, first + high + value.itemsize
    if torch_tensors.is_torch_tensor(value) and value.numel() and value.device.type == "cpu":
        steps = sum(stride * (size - 1) for stride, size in zip(value.stride(), value.shape, strict=True))
        return value.data_ptr(), value.data_ptr() + (steps + 1) * value.element_size()
    return None


def generator_state(value: Any) -> tuple[str, str, Any] | None:
    """Mark, kind and plain state of a generator of NumPy or PyTorch; ``None`` for anything else."""
    numpy, torch = sys.modules.get("numpy"), loaded_torch()
    if numpy is not None and type(value) is numpy.random.Generator:
        return "$generator", type(value.bit_generator).__name__, value.bit_generator.state
    if numpy is not None and type(value) is numpy.random.RandomState:
        state = value.get_state(legacy=False)
        return "$random_state", state["bit_generator"], state
    if torch is not None and type(value) is torch.Generator:
        return "$torch_generator", str(value.device), value.get_state()
    return None


def set_generator(mark: str, kind: str, state: Any, existing: Any) -> Any:
    """The existing generator in this state, or a new one where there is none of this kind."""
    if mark == "$torch_generator":
        return _set_torch_generator(kind, state, existing)
    import numpy as np

    if mark == "$random_state":
        generator = existing if type(existing) is np.random.RandomState else np.random.RandomState(0)
        generator.set_state(state)
        return generator
    if kind not in _BIT_GENERATORS:
        raise ValueError(f"{kind!r} is not a bit generator of NumPy")
    if type(existing) is not np.random.Generator or type(existing.bit_generator).__name__ != kind:
        existing = np.random.Generator(getattr(np.random, kind)(0))
    existing.bit_generator.state = state
    return existing


def _set_torch_generator(device: str, state: Any, existing: Any) -> Any:
    import torch

    if type(existing) is not torch.Generator or str(existing.device) != device:
        existing = torch.Generator(torch_tensors.usable_device(device))
    existing.set_state(state)
    return existing


GENERATORS = {"$generator", "$random_state", "$torch_generator"}


def same(one: Any, other: Any) -> bool:
    """Whether two arrays of one form hold the same bits."""
    if torch_tensors.is_torch_tensor(one):
        return torch_tensors.from_torch(one)[0].digest == torch_tensors.from_torch(other)[0].digest
    return bool(one.tobytes() == other.tobytes())
