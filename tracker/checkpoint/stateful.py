"""Objects that give out a state and take one back: PyTorch's, and whatever has the same methods.

Each kind turns an object into a plain state that may share memory with it, and loads such a state into an object of the
same class. A state is restored in place first, so loading finds most of it done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tracker.checkpoint.instances import has_plain_state
from tracker.checkpoint.torch_tensors import is_torch_tensor, loaded_torch

State = dict[str, Any]
_ATOMS = (bool, int, float, str, type(None))


def kind_of(value: Any) -> str | None:
    """How the state of an object is taken; ``None`` for one that has no such methods."""
    if isinstance(value, type):
        return None
    torch, kind = loaded_torch(), type(value)
    if torch is not None and isinstance(value, torch.nn.Module):
        return "module"
    if torch is not None and isinstance(value, torch.optim.Optimizer):
        own = kind.load_state_dict is not torch.optim.Optimizer.load_state_dict
        return "state_dict" if own or kind.state_dict is not torch.optim.Optimizer.state_dict else "optimizer"
    if callable(getattr(kind, "state_dict", None)) and callable(getattr(kind, "load_state_dict", None)):
        return "state_dict"
    if hasattr(kind, "__setstate__") and _is_own(kind) and not has_plain_state(value):
        return "getstate"
    return None


def _is_own(kind: Any) -> bool:
    """Whether a class in Python says itself what its state is, and does not rely on being made anew with arguments."""
    if kind.__reduce__ is not object.__reduce__ or kind.__reduce_ex__ is not object.__reduce_ex__:
        return False
    owner = next((base for base in kind.__mro__ if "__setstate__" in vars(base)), object)
    return bool(owner.__flags__ & 1 << 9) and hasattr(vars(owner)["__setstate__"], "__code__")


def state_of(kind: str, value: Any) -> State:
    """The state of an object, its arrays shared with it as far as it gives them out so."""
    return _STATES[kind](value)


def load(kind: str, value: Any, state: State) -> None:
    """Put a state into an object; whatever its own methods raise passes through."""
    _LOADERS[kind](value, state)


def _module_state(module: Any) -> State:
    """Parameters and buffers, and what ``state_dict`` leaves out but a step may change or read.

    Gradients are part of it: between the blocks of a program they are there to be read, a gradient's norm for example.
    """
    state = module.state_dict()
    kept = {name: item for name, item in module.named_buffers(remove_duplicate=False) if name not in state}
    parameters = list(module.named_parameters(remove_duplicate=False))
    return {
        "state_dict": dict(state),
        "buffers": kept,
        "gradients": {name: item.grad for name, item in parameters if item.grad is not None},
        "frozen": [name for name, item in parameters if not item.requires_grad],
        "modules": {name: _settings(part) for name, part in module.named_modules(remove_duplicate=False)},
    }


def _settings(module: Any) -> State:
    """Attributes with plain values: ``training``, the rate of a dropout, a counter of the user's own."""
    return {name: item for name, item in vars(module).items() if type(item) in _ATOMS and not name.startswith("_")}


def _load_module(module: Any, state: State) -> None:
    fresh, now = state["state_dict"], module.state_dict()
    for name, item in fresh.items():
        if is_torch_tensor(item) and is_torch_tensor(now.get(name)) and item.dtype != now[name].dtype:
            raise ValueError(f"{name} is {now[name].dtype} now and was {item.dtype}")
    holder = type(now)(fresh)
    holder._metadata = getattr(now, "_metadata", {})  # versions of the layers; without them, old forms are assumed
    module.load_state_dict(holder)
    for name, item in state["buffers"].items():
        owner, _, last = name.rpartition(".")
        module.get_submodule(owner)._buffers[last] = item
    frozen = set(state["frozen"])
    for name, item in module.named_parameters(remove_duplicate=False):
        item.requires_grad_(name not in frozen)
        item.grad = state["gradients"].get(name)
    parts: dict[str, Any] = dict(module.named_modules(remove_duplicate=False))
    for name, settings in state["modules"].items():
        parts[name].__dict__.update({key: item for key, item in settings.items() if type(item) in _ATOMS})


def _optimizer_state(optimizer: Any) -> State:
    """What ``state_dict`` gives out, by position; kept apart because ``load_state_dict`` changes dtypes."""
    groups = [{name: item for name, item in group.items() if name != "params"} for group in optimizer.param_groups]
    parameters = _parameters(optimizer)
    return {
        "groups": groups,
        "sizes": [len(group["params"]) for group in optimizer.param_groups],
        "state": [optimizer.state.get(parameter) for parameter in parameters],
    }


def _load_optimizer(optimizer: Any, state: State) -> None:
    sizes = [len(group["params"]) for group in optimizer.param_groups]
    if state["sizes"] != sizes:
        raise ValueError(f"its groups have {sizes} parameters now and had {state['sizes']}")
    for group, fresh in zip(optimizer.param_groups, state["groups"], strict=True):
        for name in group.keys() - fresh.keys() - {"params"}:
            del group[name]
        group.update(fresh)
    for parameter, fresh in zip(_parameters(optimizer), state["state"], strict=True):
        if fresh is None:
            optimizer.state.pop(parameter, None)
        else:
            optimizer.state[parameter] = fresh


def _parameters(optimizer: Any) -> list[Any]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _given_state(value: Any) -> State:
    state = value.state_dict()
    return {"state_dict": dict(state) if isinstance(state, Mapping) else state}


_STATES: dict[str, Callable[[Any], State]] = {
    "module": _module_state,
    "optimizer": _optimizer_state,
    "state_dict": _given_state,
    "getstate": lambda value: {"state": value.__getstate__()},
}
_LOADERS: dict[str, Callable[[Any, State], None]] = {
    "module": _load_module,
    "optimizer": _load_optimizer,
    "state_dict": lambda value, state: value.load_state_dict(state["state_dict"]),
    "getstate": lambda value, state: value.__setstate__(state["state"]),
}
