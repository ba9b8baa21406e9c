import tracker

@timed
@retry(times=5, wait=1)
def objective(trial, folds=folds):
    def closure():
        opt.zero_grad()
        loss = model.loss(batch)
        loss.backward()
        tracker.log("closure_loss", loss.item())
        return loss

    scores = [evaluate(f) for f in folds(closure)]
    return sum(scores)
