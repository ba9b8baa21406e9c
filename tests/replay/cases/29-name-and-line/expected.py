import tracker

def train():
    loss = a()
    step()

def test():
    loss = b()
    tracker.log("loss", loss)
    report()
