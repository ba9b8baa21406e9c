import tracker


def evaluate(model, loader):
    total = correct = 0
    for x, y in loader:
        pred = model(x).argmax(dim=1)
        correct += int((pred == y).sum())
        total += len(y)
    tracker.log("val_accuracy", correct / total)
    return correct / total


for epoch in range(10):
    train(model, train_loader)
    evaluate(model, val_loader)
