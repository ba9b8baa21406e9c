import tracker

for epoch in range(epochs):
    seen = 0
    for x, y in loader:
        loss = fit(x, y)
        seen += len(x)
    validate()
    tracker.log("seen", seen)
