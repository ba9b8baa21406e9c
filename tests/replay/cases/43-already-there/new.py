import tracker

for x in data:
    loss = fit(x)
    tracker.log("loss", loss)
    step(x)
