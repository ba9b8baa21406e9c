import tracker

for ep in range(n_epochs):
    for i, (inp, target) in enumerate(train_dl):
        pred = net(inp)
        err = loss_fn(pred, target)
        err.backward()
        optim.step()
        optim.zero_grad()
