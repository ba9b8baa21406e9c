import numpy as np


def accuracy(y, pred):
    return float(np.mean(y == pred))


def f1(y, pred):
    hit = np.sum((y == 1) & (pred == 1))
    return float(2 * hit / (np.sum(y == 1) + np.sum(pred == 1)))
