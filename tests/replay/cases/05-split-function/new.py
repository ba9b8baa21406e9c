import tracker


def run_epoch(model, loader, opt):
    model.train()
    total = 0.0
    for x, y in loader:
        opt.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        opt.step()
        total += loss.item()
        tracker.log("batch_loss", loss.item())
    return total


def train(model, loader, opt):
    for epoch in range(10):
        total = run_epoch(model, loader, opt)
        print(epoch, total)
        evaluate(model)
