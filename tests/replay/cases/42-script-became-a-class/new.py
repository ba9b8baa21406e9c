import torch
import tracker


class Trainer:
    def __init__(self):
        self.model = Net()
        self.opt = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def fit(self, loader):
        for epoch in range(5):
            for x, y in loader:
                self.opt.zero_grad()
                loss = criterion(self.model(x), y)
                loss.backward()
                tracker.log("weight", self.model.head.weight.norm().item())
                self.opt.step()
