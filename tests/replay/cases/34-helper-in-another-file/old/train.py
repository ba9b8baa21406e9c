import tracker
from metrics import accuracy

X, y = load()
pred = model.predict(X)
tracker.log("accuracy", accuracy(y, pred))
