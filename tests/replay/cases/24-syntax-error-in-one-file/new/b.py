import tracker

tracker.log("y", 2)
