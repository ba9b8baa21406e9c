import tracker

sched = Schedule()
for epoch in range(9):
    loss, acc = train()
    tracker.log_many({"loss": loss, "acc": acc})
    tracker.log_many({'lr': sched.get_last_lr()[0]})
    sched.step()
