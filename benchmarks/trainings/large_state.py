"""A wide network whose state, with Adam's, is 100 MB, beside blocks of about 0.3 s."""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

import tracker

epochs = int(sys.argv[1])
torch.set_num_threads(1)
torch.manual_seed(7)
digits = load_digits()
images = torch.tensor(digits.data / 16.0, dtype=torch.float32)
labels = torch.tensor(digits.target)
net = nn.Sequential(nn.Linear(64, 2840), nn.ReLU(), nn.Linear(2840, 2840), nn.ReLU(), nn.Linear(2840, 10))
optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)
loss_of = nn.CrossEntropyLoss()
with tracker.checkpointing(net=net, optimizer=optimizer):
    for _epoch in tracker.loop("epoch", range(epochs)):
        for _step in tracker.loop("step", range(6)):
            batch = torch.randint(len(labels), (32,))
            loss = loss_of(net(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            tracker.log("loss", loss.item())
