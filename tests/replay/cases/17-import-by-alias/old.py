import numpy as np

for i in range(100):
    w = step(w)
