import tracker

for step, batch in enumerate(loader):
    loss = update(batch)
    tracker.log("loss", loss)
    schedule.step()
