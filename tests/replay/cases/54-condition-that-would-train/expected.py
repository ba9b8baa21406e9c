import tracker

for x, y in loader:
    loss = net.loss(x, y)
    loss.backward()
    opt.step()
    tracker.log("loss", loss.item())
    meter.tick()
