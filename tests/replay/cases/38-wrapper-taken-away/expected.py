import tracker

def train(data):
    try:
        for x in data:
            loss = fit(x)
            tracker.log("loss", loss)
            opt.step()
    except KeyboardInterrupt:
        print("stopped")
