import tracker

for x in data:
    fit(x)
