import tracker

def f(x):
    y = g(x)
    tracker.log("y", y)
    return y
