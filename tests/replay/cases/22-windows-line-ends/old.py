import tracker

for x in data:
    y = f(x)
print("done")
