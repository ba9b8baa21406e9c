import numpy as np
from tracker import log as record

for i in range(100):
    w = step(w)
    record("norm", np.linalg.norm(w))
