import tracker

for step, batch in enumerate(loader):
    loss = update(batch)
    if step % 100 == 0:
        tracker.log("loss", loss)
    schedule.step()
