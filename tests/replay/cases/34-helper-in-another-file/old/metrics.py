import numpy as np


def accuracy(y, pred):
    return float(np.mean(y == pred))
