import tracker
from metrics import f1
from metrics import accuracy

X, y = load()
pred = model.predict(X)
tracker.log("f1", f1(y, pred))
tracker.log("accuracy", accuracy(y, pred))
