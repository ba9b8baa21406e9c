import tracker

def evaluate(model):
    return model.score(X_test, y_test)

for depth in range(3):
    best = max(best, evaluate(fit(depth)))
