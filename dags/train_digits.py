"""A training that other DAGs can ask afterwards: handwritten digits, three learning rates at once."""

from __future__ import annotations

from datetime import UTC, datetime

from airflow.providers.common.compat.sdk import dag, task

import tracker


@task.tracked
def train(lr: float, epochs: int = 5, seed: int = 0) -> float:
    """One run of stochastic gradient descent; returns the accuracy."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.linear_model import SGDClassifier
    from sklearn.model_selection import train_test_split

    x, y = load_digits(return_X_y=True)
    x, held_x, y, held_y = train_test_split(x / 16.0, y, random_state=seed)
    model = SGDClassifier(loss="log_loss", learning_rate="constant", eta0=lr, random_state=seed)
    order = np.random.default_rng(seed)
    accuracy = 0.0
    with tracker.checkpointing(model=model, order=order):
        for _epoch in tracker.loop("epoch", range(epochs)):
            for batch in tracker.loop("batch", np.array_split(order.permutation(len(x)), 20)):
                model.partial_fit(x[batch], y[batch], classes=range(10))
            accuracy = float(model.score(held_x, held_y))
            tracker.log("accuracy", accuracy)
    return accuracy


@dag(dag_id="train_digits", schedule=None, start_date=datetime(2024, 1, 1, tzinfo=UTC), tags=["hindsight"])
def train_digits() -> None:
    """Three runs, one for each learning rate."""
    train.expand(lr=[0.003, 0.03, 0.3])


train_digits()
