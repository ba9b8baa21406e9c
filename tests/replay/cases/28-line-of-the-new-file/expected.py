for epoch in range(2):
    loss = fit()
    print("epoch", epoch, "loss", loss)
    save()
