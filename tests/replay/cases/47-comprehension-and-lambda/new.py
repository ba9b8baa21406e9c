import tracker

grid = [{"c": c} for c in (0.01, 0.1, 1, 10)]
scores = [cross_val(p) for p in grid]
best = max(zip(scores, grid), key=lambda pair: pair[0])
tracker.log("spread", max(s for s in scores) - min(s for s in scores))
tracker.log("ranked", sorted(grid, key=lambda p: p["c"]))
print(best)
