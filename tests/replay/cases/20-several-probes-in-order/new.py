import tracker

sched = Schedule()
for epoch in range(9):
    loss = train()
    tracker.log("loss", loss)
    tracker.log("lr", sched.lr)
    sched.step()
    acc = test()
    tracker.log("acc", acc)
