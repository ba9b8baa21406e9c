from math import log

for x in data:
    loss = -log(predict(x))
    update(loss)
