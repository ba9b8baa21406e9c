import tracker

for x in data:
    y = f(x)
    tracker.log("y", y)
    z = g(y)
    if z > 1:
        count += 1
        tracker.log("count", count)
