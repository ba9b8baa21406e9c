import tracker

def train():
    loss = a()
    tracker.log("loss", loss)
    step()

def test():
    loss = b()
    tracker.log("loss", loss)
    report()
