import torch
import tracker

for x, y in loader:
    loss = step(net, x, y)
    with torch.no_grad():
        margin = net(x).topk(2).values
        tracker.log("margin", (margin[:, 0] - margin[:, 1]).mean().item())
    losses.append(loss)
