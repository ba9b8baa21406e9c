import tracker

for epoch in range(3):
    fit(model, val_loader)
    sched.step()
