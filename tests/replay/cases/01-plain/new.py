import torch
import tracker

model = build(tracker.arg("width", 128))
opt = torch.optim.SGD(model.parameters(), lr=tracker.arg("lr", 0.05), momentum=0.9)

for epoch in tracker.loop("epoch", range(20)):
    for x, y in tracker.loop("step", loader):
        opt.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        tracker.log("grad_norm", model.fc.weight.grad.norm().item())
        opt.step()
    tracker.log("loss", loss.item())
