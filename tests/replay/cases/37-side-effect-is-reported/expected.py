import tracker

for epoch in range(3):
    fit(model, val_loader)
    probe = next(iter(val_loader))
    tracker.log("probe", model(probe).mean().item())
    sched.step()
