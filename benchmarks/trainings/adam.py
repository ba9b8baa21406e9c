"""A convolutional network on scikit-learn's digits, Adam; with an argument, all but its last layer is frozen."""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

import tracker

is_frozen = len(sys.argv) > 2
torch.set_num_threads(1)
torch.manual_seed(7)
digits = load_digits()
images = torch.tensor(digits.images / 16.0, dtype=torch.float32).unsqueeze(1)
labels = torch.tensor(digits.target)
net = nn.Sequential(
    nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    nn.Flatten(), nn.Linear(2048, 256), nn.ReLU(), nn.Linear(256, 10),
)  # fmt: skip
if is_frozen:
    net[:-1].requires_grad_(False)
optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=1e-3)
loss_of = nn.CrossEntropyLoss()
with tracker.checkpointing(net=net, optimizer=optimizer):
    for _epoch in tracker.loop("epoch", range(int(sys.argv[1]))):
        for _step in tracker.loop("step", range(28)):
            batch = torch.randint(len(labels), (64,))
            loss = loss_of(net(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        optimizer.zero_grad()
torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict()}, "plain.pt")
