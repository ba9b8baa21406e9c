def curvature(w, x):
    return float((x @ w) ** 2)
