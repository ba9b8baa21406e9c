"""Softmax regression on small images, with NumPy only."""

import argparse

import numpy as np

import tracker

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--lr", type=float, default=0.2)
args = parser.parse_args()

CLASSES = 10
rng = np.random.default_rng(tracker.arg("seed", 7))


def softmax(scores):
    shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def one_hot(labels):
    table = np.zeros((len(labels), CLASSES))
    table[np.arange(len(labels)), labels] = 1
    return table


def batches(images, labels, size):
    order = rng.permutation(len(images))
    for start in range(0, len(images), size):
        chosen = order[start : start + size]
        yield images[chosen], labels[chosen]


images, labels = load_digits("data/digits.npz")
cut = int(len(images) * 0.8)
weights = np.zeros((images.shape[1], CLASSES))
bias = np.zeros(CLASSES)
best = 0.0

for epoch in tracker.loop("epoch", range(args.epochs)):
    total = 0.0
    for step, (x, y) in enumerate(batches(images[:cut], labels[:cut], 32)):
        probabilities = softmax(x @ weights + bias)
        error = probabilities - one_hot(y)
        gradient = x.T @ error / len(x)
        weights -= args.lr * gradient
        bias -= args.lr * error.mean(axis=0)
        loss = -np.log(probabilities[np.arange(len(y)), y] + 1e-9).mean()
        tracker.log("loss", loss)
        total += loss * len(x)
        if step % 20 == 0:
            print("step", step, "loss", loss)
            tracker.log("gradient", float(np.abs(gradient).max()))
    predicted = softmax(images[cut:] @ weights + bias).argmax(axis=1)
    accuracy = float((predicted == labels[cut:]).mean())
    tracker.log("accuracy", accuracy)
    if accuracy > best:
        best = accuracy
        np.save("best.npy", weights)
        tracker.log("best", best)
    args.lr *= 0.95

tracker.log("final", best)
print("best accuracy", best)
