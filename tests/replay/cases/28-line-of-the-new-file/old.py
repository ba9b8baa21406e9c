for epoch in range(2):
    loss = fit()
    save()
