import tracker

for epoch in range(3):
    loss = fit(model)
    save(model)
