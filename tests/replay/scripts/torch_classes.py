"""An image classifier with a trainer class."""

import time

import torch
import torch.nn.functional as F
from torch import nn

import tracker


class Net(nn.Module):
    def __init__(self, width=32):
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, padding=1)
        self.second = nn.Conv2d(width, width * 2, 3, padding=1)
        self.head = nn.Linear(width * 2, 10)

    def forward(self, x):
        x = F.relu(self.first(x))
        x = F.max_pool2d(x, 2)
        x = F.relu(self.second(x))
        tracker.log("active", (x > 0).float().mean().item())
        x = x.mean(dim=(2, 3))
        return self.head(x)


class Trainer:
    def __init__(self, model, train_set, test_set, lr=1e-3):
        self.model = model
        self.train_set = train_set
        self.test_set = test_set
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, step_size=3)
        self.best = 0.0

    def step(self, x, y):
        self.optimizer.zero_grad()
        output = self.model(x)
        loss = F.cross_entropy(output, y)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        tracker.log("grad_norm", norm.item())
        self.optimizer.step()
        return loss.item()

    def run_epoch(self):
        self.model.train()
        began = time.perf_counter()
        losses = []
        for index, (x, y) in enumerate(self.train_set):
            losses.append(self.step(x, y))
            if index % 50 == 0:
                tracker.log("running", sum(losses) / len(losses))
        tracker.log("seconds", time.perf_counter() - began)
        self.scheduler.step()
        return sum(losses) / len(losses)

    @torch.no_grad()
    def evaluate(self):
        self.model.eval()
        correct = count = 0
        for x, y in self.test_set:
            output = self.model(x)
            correct += (output.argmax(dim=1) == y).sum().item()
            count += len(y)
        tracker.log("count", count)
        return correct / count

    def fit(self, epochs):
        for epoch in tracker.loop("epoch", range(epochs)):
            mean_loss = self.run_epoch()
            tracker.log("train_loss", mean_loss)
            score = self.evaluate()
            tracker.log("test_score", score)
            if score > self.best:
                self.best = score
                torch.save(self.model.state_dict(), "best.pt")


if __name__ == "__main__":
    torch.manual_seed(0)
    net = Net(tracker.arg("width", 32))
    Trainer(net, open_split("train"), open_split("test")).fit(tracker.arg("epochs", 5))
