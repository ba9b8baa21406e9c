import tracker

for step, batch in enumerate(loader):
    loss = fit(batch)
    if loss.isfinite():
        opt.step()
    sched.step()
