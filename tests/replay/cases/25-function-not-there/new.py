import tracker


def distill(teacher, student):
    gap = teacher(x) - student(x)
    tracker.log("gap", gap)
    return gap


for x in data:
    fit(x)
