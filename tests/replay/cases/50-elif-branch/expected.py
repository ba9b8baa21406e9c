import tracker

for x in data:
    if warm(x):
        lr = 0.01
    elif hot(x):
        lr = 0.1
        tracker.log("hot", lr)
    else:
        lr = 1.0
    fit(x, lr)
