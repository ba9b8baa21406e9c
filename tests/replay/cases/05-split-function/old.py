import tracker


def train(model, loader, opt):
    for epoch in range(10):
        model.train()
        total = 0.0
        for x, y in loader:
            opt.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            opt.step()
            total += loss.item()
        print(epoch, total)
        evaluate(model)
