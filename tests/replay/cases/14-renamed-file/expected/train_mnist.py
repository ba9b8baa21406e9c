import tracker

data = load("mnist")
model = Classifier(784, 10)
for epoch in range(3):
    acc = model.train_one(data)
    tracker.log("acc", acc)
model.save("mnist.bin")
