import tracker

@timed
@retry(times=3)
def objective(trial):
    def closure():
        opt.zero_grad()
        loss = model.loss(batch)
        loss.backward()
        tracker.log("closure_loss", loss.item())
        return loss

    scores = [evaluate(f) for f in folds(closure)]
    return sum(scores)
