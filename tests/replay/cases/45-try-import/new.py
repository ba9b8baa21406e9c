import tracker

try:
    import psutil
except ImportError:
    psutil = None

for x in data:
    fit(x)
    if psutil:
        tracker.log("rss", psutil.Process().memory_info().rss)
