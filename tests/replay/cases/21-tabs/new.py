import tracker

for x, y in loader:
    if x is not None:
        loss = fit(x, y)
        if loss > 10:
            tracker.log(
                "spike", loss,
            )
        done += 1
