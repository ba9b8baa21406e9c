import tracker

for epoch in range(epochs):
    for x, y in loader:
        loss = fit(x, y)
    validate()
