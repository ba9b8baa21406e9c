import tracker

for epoch in range(3):
    loss = fit()
    tracker.log("loss", loss)
    tracker.log("double", loss * 2)
print("end")
tracker.log("last", loss)
