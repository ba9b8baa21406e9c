import torch
import tracker

for x, y in loader:
    loss = step(net, x, y)
    losses.append(loss)
