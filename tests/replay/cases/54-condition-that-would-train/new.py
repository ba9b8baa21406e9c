import tracker

for x, y in loader:
    loss = net.loss(x, y)
    loss.backward()
    opt.step()
    skipped = scaler.step(opt)
    if not skipped:
        tracker.log("loss", loss.item())
    meter.tick()
