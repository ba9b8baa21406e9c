import tracker

for split in ("train", "val"):
    score = evaluate(split)
    print(split, score)
