import tracker

model = make_model()
opt = make_optimizer(model)
for epoch in range(10):
    for batch in loader:
        loss = model.loss(batch)
        loss.backward()
        tracker.log("loss", loss.item())
        opt.step()
    save(model)
