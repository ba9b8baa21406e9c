import tracker

for x, y in loader:
	if x is not None:
		loss = fit(x, y)
		done += 1
