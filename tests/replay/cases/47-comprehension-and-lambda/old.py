import tracker

grid = [{"c": c} for c in (0.1, 1, 10)]
scores = [cross_val(p) for p in grid]
best = max(zip(scores, grid), key=lambda pair: pair[0])
print(best)
