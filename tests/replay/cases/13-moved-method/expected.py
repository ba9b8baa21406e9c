import tracker


class Trainer:
    def validate(self):
        correct = 0
        for x, y in self.val_loader:
            correct += (self.model(x).argmax(1) == y).sum().item()
        tracker.log("correct", correct)
        return correct / len(self.val_set)

    def fit(self):
        for epoch in range(self.epochs):
            self.train_epoch()
            self.validate()
