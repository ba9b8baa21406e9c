import tracker

for x in data:
    loss = train_step(x)
    opt.step()
