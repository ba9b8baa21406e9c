"""A search over forests with cross-validation."""

import json
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import f1_score, log_loss
from sklearn.model_selection import StratifiedKFold

import tracker

FOLDS = 4
OUT = Path("results")


def candidates(seed):
    for trees in (50, 100, 200):
        for depth in (4, 8, None):
            yield {"n_estimators": trees, "max_depth": depth, "random_state": seed}


def score_fold(params, train, test):
    model = RandomForestClassifier(**params)
    model.fit(*train)
    proba = model.predict_proba(test[0])
    predicted = model.classes_[proba.argmax(axis=1)]
    tracker.log("log_loss", log_loss(test[1], proba))
    return f1_score(test[1], predicted, average="macro"), model


def main():
    seed = tracker.arg("seed", 3)
    X, y = load_table("train.csv")
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    results = []
    for number, params in enumerate(candidates(seed)):
        scores = []
        for fold, (train, test) in enumerate(folds.split(X, y)):
            try:
                score, model = score_fold(params, (X[train], y[train]), (X[test], y[test]))
            except ValueError as problem:
                print("skipped", params, problem)
                tracker.log("skipped", number)
                continue
            scores.append(score)
            importance = np.sort(model.feature_importances_)[::-1]
            tracker.log("importance", importance[:5].sum(), fold=fold)
        if not scores:
            continue
        mean, spread = np.mean(scores), np.std(scores)
        tracker.log("f1", mean, candidate=number)
        results.append({"params": params, "f1": mean, "spread": spread})
    results.sort(key=lambda entry: entry["f1"], reverse=True)
    winner = results[0]
    tracker.log("winner", winner["f1"])
    OUT.mkdir(exist_ok=True)
    with open(OUT / "results.json", "w") as handle:
        json.dump(results, handle)
        tracker.log("written", handle.tell())
    return winner


if __name__ == "__main__":
    main()
