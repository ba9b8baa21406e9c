import tracker

for x in data:
    y = f(x)
    tracker.log("y", y)
print("done")
