import tracker

def evaluate(model):
    return tracker.log("score", model.score(X_test, y_test))

for depth in range(3):
    best = max(best, tracker.log("depth_score", evaluate(fit(depth)), depth=depth))
