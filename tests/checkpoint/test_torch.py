"""PyTorch's objects and tensors come back to the last bit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from tracker.checkpoint.objects import capture_object, restore_object
from tracker.checkpoint.state import MISSING, capture, restore
from tracker.checkpoint.tensors import TensorData
from tracker.errors import Unfitting

pytestmark = pytest.mark.torch
torch: Any = pytest.importorskip("torch")


def through(value: Any, existing: Any = MISSING) -> Any:
    """The value after capture, JSON and restore."""
    tensors: list[TensorData] = []
    tree = capture(value, tensors)
    return restore(msgspec.json.decode(msgspec.json.encode(tree)), tensors, existing)


def bits(tensor: Any) -> list[int]:
    """The bytes of a tensor in C order."""
    found: list[int] = tensor.detach().reshape(-1).clone().view(torch.uint8).tolist()
    return found


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(24).reshape(2, 3, 4)[:, 1:, ::2],
        torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        torch.randn(3).bfloat16(),
        torch.randn(3).half(),
        torch.tensor(True),
        torch.zeros(0, 3),
        torch.randn(3, dtype=torch.complex64),
        torch.tensor([1, 2], dtype=torch.uint16),
        torch.randn(4).to(torch.float8_e4m3fn),
        torch.nn.Parameter(torch.randn(2)),
        torch.nn.Parameter(torch.randn(2), requires_grad=False),
        torch.randn(2, requires_grad=True),
    ],
    ids=lambda tensor: f"{tensor.dtype}-{tuple(tensor.shape)}",
)
def test_tensors_survive(tensor: Any) -> None:
    """With dtype, order in memory, class and whether they want a gradient."""
    again = through([tensor])[0]

    assert (type(again), again.dtype, again.shape) == (type(tensor), tensor.dtype, tensor.shape)
    assert again.requires_grad == tensor.requires_grad
    assert again.stride() == tensor.stride() or tensor.dim() == 3
    assert bits(again) == bits(tensor)


def test_small_values_survive() -> None:
    """Sizes, dtypes and devices."""
    value = [torch.Size([2, 3]), torch.bfloat16, torch.device("cpu")]

    assert through(value) == value


def test_tensors_are_changed_in_place() -> None:
    """A view of the existing tensor sees the restored values; one in a graph stays as it is."""
    existing = torch.zeros(4)
    view = existing[:2]
    in_graph = torch.zeros(4, requires_grad=True) * 2

    assert through(torch.ones(4), existing) is existing
    assert view.tolist() == [1, 1]
    assert through(torch.ones(4), in_graph) is not in_graph


def test_generators_continue() -> None:
    """A generator of the program's own."""
    generator, other = torch.Generator().manual_seed(3), torch.Generator()
    tensors: list[TensorData] = []
    tree = capture(generator, tensors)
    expected = torch.randn(3, generator=generator).tolist()

    assert restore(tree, tensors, other) is other
    assert torch.randn(3, generator=other).tolist() == expected


class Net(torch.nn.Module):  # type: ignore[misc]
    """A convolution with a normalization, a dropout, a buffer that is not saved and tied weights."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.Dropout(0.3))
        self.first, self.last = torch.nn.Linear(16, 16), torch.nn.Linear(16, 16)
        self.last.weight = self.first.weight
        self.register_buffer("seen", torch.zeros(()), persistent=False)
        self.calls = 0

    def forward(self, x: Any) -> Any:
        self.calls += 1
        self.seen += 1
        return self.last(self.first(self.body(x).flatten(1)))


def adam(parameters: Any) -> Any:
    return torch.optim.AdamW(parameters, lr=1e-2, amsgrad=True)


def momentum(parameters: Any) -> Any:
    return torch.optim.SGD(parameters, lr=1e-2, momentum=0.9, nesterov=True)


def lbfgs(parameters: Any) -> Any:
    return torch.optim.LBFGS(parameters, lr=0.1, max_iter=3)


def training(make: Callable[[Any], Any]) -> tuple[Any, Any, Any, Any]:
    net = Net()
    optimizer = make(net.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=60, cycle_momentum=False)
    return net, optimizer, schedule, torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=3)


def train(parts: tuple[Any, Any, Any, Any], steps: int) -> list[bytes]:
    """Some steps; returns every loss as bytes."""
    net, optimizer, schedule, scaler = parts
    losses = []
    for _ in range(steps):
        x, y = torch.randn(4, 1, 4, 4), torch.randn(4, 16)

        def closure(x: Any = x, y: Any = y) -> Any:
            optimizer.zero_grad()
            loss = torch.nn.functional.mse_loss(net(x), y)
            scaler.scale(loss).backward()
            losses.append(loss.detach().numpy().tobytes())
            return loss

        if isinstance(optimizer, torch.optim.LBFGS):
            optimizer.step(closure)
        else:
            closure()
            scaler.step(optimizer)
            scaler.update()
        schedule.step()
    return losses


@pytest.mark.parametrize("make", [adam, momentum, lbfgs])
@pytest.mark.parametrize("is_used", [True, False])
def test_a_training_resumes_exactly(make: Callable[[Any], Any], is_used: bool) -> None:
    """Twenty steps after a restore every loss equals that of the training that was never interrupted."""
    torch.manual_seed(1)
    parts = training(make)
    train(parts, 7)
    tensors: list[TensorData] = []
    trees = [msgspec.json.decode(msgspec.json.encode(capture_object(part, tensors))) for part in parts]
    torch.manual_seed(2)
    expected = train(parts, 20)
    others = training(make)
    if is_used:
        train(others, 3)

    for part, tree in zip(others, trees, strict=True):
        restore_object(part, tree, tensors)
    torch.manual_seed(2)

    assert train(others, 20) == expected
    assert others[0].calls == parts[0].calls
    assert others[0].seen == parts[0].seen


def test_what_state_dict_leaves_out_is_kept() -> None:
    """Mode, gradients, frozen parameters and the rate of a dropout."""
    net = Net()
    net(torch.randn(2, 1, 4, 4)).sum().backward()
    net.body.eval()
    net.first.bias.requires_grad_(False)
    net.body[2].p = 0.1
    gradient = net.last.bias.grad.clone()
    tensors: list[TensorData] = []
    tree = capture_object(net, tensors)
    other = Net()
    other.body[0].weight.grad = torch.ones_like(other.body[0].weight)

    restore_object(other, tree, tensors)

    assert (other.training, other.body.training, other.body[2].p) == (True, False, 0.1)
    assert torch.equal(other.last.bias.grad, gradient)
    assert not other.first.bias.requires_grad
    assert other.last.weight is other.first.weight


def test_the_state_of_an_optimizer_keeps_its_dtypes() -> None:
    """``load_state_dict`` would cast it to the dtype of the parameters."""
    parameter = torch.nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
    optimizer = torch.optim.SGD([parameter], lr=0.1)
    optimizer.state[parameter]["exact"] = torch.tensor([1.0001, 2.0])
    tensors: list[TensorData] = []
    tree = capture_object(optimizer, tensors)
    other = torch.optim.SGD([parameter], lr=0.2)

    restore_object(other, tree, tensors)

    assert torch.equal(other.state[parameter]["exact"], torch.tensor([1.0001, 2.0]))
    assert other.param_groups[0]["lr"] == 0.1


def test_aliases_of_weights_keep_working() -> None:
    """They are written in place."""
    net = torch.nn.Linear(2, 2)
    tensors: list[TensorData] = []
    tree = capture_object(net, tensors)
    expected, alias = net.weight.tolist(), net.weight.detach()
    torch.nn.init.zeros_(net.weight)

    restore_object(net, tree, tensors)

    assert alias.tolist() == expected


def test_a_network_of_another_form_is_refused() -> None:
    """With the names that PyTorch gives; a dtype that differs is refused, too."""
    tensors: list[TensorData] = []
    tree = capture_object(torch.nn.Linear(2, 2), tensors)

    with pytest.raises(Unfitting, match="size mismatch"):
        restore_object(torch.nn.Linear(3, 2), tree, tensors)
    with pytest.raises(Unfitting, match="bfloat16 now"):
        restore_object(torch.nn.Linear(2, 2).bfloat16(), tree, tensors)
