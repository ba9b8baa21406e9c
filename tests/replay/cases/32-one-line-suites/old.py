import tracker

for x in data:
    y = f(x); z = g(y)
    if z > 1: count += 1
