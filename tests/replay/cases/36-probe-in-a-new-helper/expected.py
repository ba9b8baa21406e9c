import tracker

def log_norms(model):
    for name, p in model.named_parameters():
        tracker.log("norm", p.norm().item(), parameter=name)


for epoch in range(3):
    loss = fit(model)
    log_norms(model)
    save(model)
