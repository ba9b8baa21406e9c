import tracker

for split in ("train", "val"):
    score = evaluate(split)
    tracker.log(f"{split}/score", score)
    print(split, score)
