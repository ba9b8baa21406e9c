import tracker

for step, batch in enumerate(loader):
    loss = update(batch)
    print("step", step, loss)
    schedule.step()
