import tracker


def main(verbose):
    for step, batch in enumerate(loader):
        loss = update(batch)
        if verbose:
            tracker.log("loss", loss)
        schedule.step()
