import tracker

for step, batch in enumerate(loader):
    loss = update(batch)
    schedule.step()
