import tracker


def fit(model, opt, loader, epochs=10):
    for epoch in range(epochs):
        for batch in loader:
            loss = model.loss(batch)
            loss.backward()
            tracker.log("loss", loss.item())
            opt.step()
        save(model)


if __name__ == "__main__":
    model = make_model()
    opt = make_optimizer(model)
    fit(model, opt, loader)
