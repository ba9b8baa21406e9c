import torch
import tracker

model = build(tracker.arg("width", 64))
opt = torch.optim.SGD(model.parameters(), lr=tracker.arg("lr", 0.1))

for epoch in tracker.loop("epoch", range(10)):
    for x, y in tracker.loop("step", loader):
        opt.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        tracker.log("grad_norm", model.fc.weight.grad.norm().item())
        opt.step()
    tracker.log("loss", loss.item())
