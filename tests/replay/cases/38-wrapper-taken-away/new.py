import tracker

def train(data):
    for x in data:
        loss = fit(x)
        tracker.log("loss", loss)
        opt.step()
