import tracker as flor
from ops import norm, step

for i in flor.loop("i", range(100)):
    w = step(w)
