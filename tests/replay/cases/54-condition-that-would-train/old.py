import tracker

for x, y in loader:
    loss = net.loss(x, y)
    loss.backward()
    opt.step()
    meter.tick()
