import tracker

for epoch in range(3):
    loss = fit()
    tracker.log("loss", loss)
print("end")
