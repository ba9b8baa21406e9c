import tracker

for x in data:
    loss, grad_norm = train_step(x)
    tracker.log("grad_norm", grad_norm)
    opt.step()
