import tracker

for ep in range(n_epochs):
    for i, (inp, target) in enumerate(train_dl):
        pred = net(inp)
        err = loss_fn(pred, target)
        err.backward()
        tracker.log("confidence", pred.softmax(-1).max(-1).values.mean().item(), batch=i)
        optim.step()
        optim.zero_grad()
