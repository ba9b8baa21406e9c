import tracker

def evaluate(model, loader):
    model.eval()
    for x, y in loader:
        out = model(x)
        loss = criterion(out, y)
        tracker.log("val_loss", loss.item())
        total += loss.item()

def train(model, loader, clip=None):
    model.train()
    for x, y in loader:
        out = model(x)
        loss = criterion(out, y)
        loss.backward()
