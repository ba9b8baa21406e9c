import tracker

for step, batch in enumerate(loader):
    loss = update(batch)
    if rank == 0:
        print("step", step, loss)
        tracker.log("loss", loss)
    schedule.step()
