import tracker

def train(data):
    try:
        for x in data:
            loss = fit(x)
            opt.step()
    except KeyboardInterrupt:
        print("stopped")
