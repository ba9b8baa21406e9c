import tracker

for epoch in range(n_epochs):
    for step, (images, labels) in enumerate(train_dl):
        logits = net(images)
        loss = loss_fn(logits, labels)
        loss.backward()
        tracker.log("confidence", logits.softmax(-1).max(-1).values.mean().item(), batch=step)
        optim.step()
        optim.zero_grad()
