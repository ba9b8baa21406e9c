import tracker

print "python two"
