import tracker

sched = Schedule()
for epoch in range(9):
    loss = train()
    sched.step()
    acc = test()
