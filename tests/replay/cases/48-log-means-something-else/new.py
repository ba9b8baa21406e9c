import math
from tracker import log

for x in data:
    loss = -math.log(predict(x))
    log("loss", loss)
    update(loss)
