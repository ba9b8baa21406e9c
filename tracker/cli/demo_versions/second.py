"""Train a network of one hidden layer on scikit-learn's digits: 1,797 images of 8 x 8 pixels, ten classes."""

import numpy as np
from sklearn.datasets import load_digits

import tracker

lr = tracker.arg("lr", 0.05)
hidden = tracker.arg("hidden", 256)
epochs = tracker.arg("epochs", 25)
batch_size = tracker.arg("batch_size", 4)
copies = tracker.arg("copies", 5)  # of every image in one pass, each with noise of its own
momentum = tracker.arg("momentum", 0.5)

rng = np.random.default_rng(tracker.arg("seed", 7))
digits = load_digits()
order = rng.permutation(len(digits.target))
images, labels = digits.data[order] / 16.0, digits.target[order]
train_x, test_x = images[:1400], images[1400:]
train_y, test_y = labels[:1400], labels[1400:]

net = {
    "w1": rng.normal(0, np.sqrt(2 / 64), (64, hidden)),
    "b1": np.zeros(hidden),
    "w2": rng.normal(0, np.sqrt(2 / hidden), (hidden, 10)),
    "b2": np.zeros(10),
}


def forward(x):
    """Hidden activations and class probabilities of a batch."""
    h = np.maximum(x @ net["w1"] + net["b1"], 0)
    scores = h @ net["w2"] + net["b2"]
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return h, e / e.sum(axis=1, keepdims=True)


def gradients(x, y):
    """Mean cross-entropy of a batch and its gradient for every parameter."""
    h, p = forward(x)
    loss = -np.log(p[np.arange(len(y)), y] + 1e-12).mean()
    d_scores = (p - np.eye(10)[y]) / len(y)
    d_h = (d_scores @ net["w2"].T) * (h > 0)
    return loss, {"w1": x.T @ d_h, "b1": d_h.sum(0), "w2": h.T @ d_scores, "b2": d_scores.sum(0)}


velocity = {name: np.zeros_like(values) for name, values in net.items()}
best = 0.0
with tracker.checkpointing(net=net, velocity=velocity):
    for epoch in tracker.loop("epoch", range(epochs)):
        shuffled = rng.permutation(np.tile(np.arange(len(train_y)), copies))
        for step in tracker.loop("step", range(len(shuffled) // batch_size)):
            batch = shuffled[step * batch_size : (step + 1) * batch_size]
            noisy = train_x[batch] + rng.normal(0, 0.1, (batch_size, 64))
            loss, grads = gradients(noisy, train_y[batch])
            for name, grad in grads.items():
                velocity[name] *= momentum
                velocity[name] -= lr * grad
                net[name] += velocity[name]
            tracker.log("loss", loss)
        predicted = forward(test_x)[1].argmax(axis=1)
        accuracy = float((predicted == test_y).mean())
        tracker.log("accuracy", accuracy)
        best = max(best, accuracy)

tracker.log("best_accuracy", best)
print(f"lr={lr:g}, momentum={momentum:g}: best accuracy {best:.1%} on 397 images that were not trained on")
