import tracker
from probes import curvature

for x in data:
    w = descend(w, x)
    tracker.log("curvature", curvature(w, x))
