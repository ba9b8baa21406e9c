import tracker

for x, y in loader:
    loss = criterion(net(x), y)
    loss.backward()
    opt.step()
