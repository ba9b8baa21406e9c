import tracker
from ops import norm, step

for i in tracker.loop("i", range(100)):
    w = step(w)
    tracker.log("norm", norm(w))
