from math import log
import tracker

for x in data:
    loss = -log(predict(x))
    tracker.log("loss", loss)
    update(loss)
