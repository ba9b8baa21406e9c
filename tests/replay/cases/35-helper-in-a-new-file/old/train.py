import tracker

for x in data:
    w = descend(w, x)
