import tracker

for x, y in loader:
    loss = criterion(net(x), y)
    loss.backward()
    for name, p in net.named_parameters():
        tracker.log("grad", p.grad.norm().item(), parameter=name)
    opt.step()
