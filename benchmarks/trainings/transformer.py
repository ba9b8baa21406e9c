"""A transformer on scikit-learn's digits: sixteen patches of four pixels, Adam, a schedule, noise on every image."""

import sys

import torch
from sklearn.datasets import load_digits
from torch import nn

import tracker

epochs = int(sys.argv[1])
torch.set_num_threads(1)
torch.manual_seed(7)
digits = load_digits()
order = torch.randperm(len(digits.target))
images = torch.tensor(digits.images / 16.0, dtype=torch.float32)[order]
patches = images.reshape(-1, 4, 2, 4, 2).transpose(2, 3).reshape(-1, 16, 4)
labels = torch.tensor(digits.target)[order]
train_x, train_y, test_x, test_y = patches[:1400], labels[:1400], patches[1400:], labels[1400:]


class Digits(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(4, 64)
        self.place = nn.Parameter(torch.zeros(16, 64))
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.1, batch_first=True)
        self.encode = nn.TransformerEncoder(layer, 2)
        self.decide = nn.Linear(64, 10)

    def forward(self, x):
        return self.decide(self.encode(self.embed(x) + self.place).mean(1))


net = Digits()
optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
loss_of = nn.CrossEntropyLoss()
with tracker.checkpointing(net=net, optimizer=optimizer, scheduler=scheduler):
    for _epoch in tracker.loop("epoch", range(epochs)):
        net.train()
        shuffled = torch.randint(len(train_y), (64 * 150,))
        for step in tracker.loop("step", range(150)):
            batch = shuffled[64 * step : 64 * step + 64]
            noisy = train_x[batch] + 0.1 * torch.randn(64, 16, 4)
            loss = loss_of(net(noisy), train_y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            tracker.log("loss", loss.item())
            # inner probe
        scheduler.step()
        net.eval()
        with torch.no_grad():
            guess = net(test_x).argmax(1)
        accuracy = (guess == test_y).float().mean().item()
        tracker.log("accuracy", accuracy)
        # outer probe
print(f"{accuracy:.3f}")
