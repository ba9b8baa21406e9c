import tracker


class Trainer:
    def __init__(self, model, opt):
        self.model = model
        self.opt = opt
        self.history = []

    def step(self, batch):
        loss = self.model.loss(batch)
        loss.backward()
        self.opt.step()
        self.history.append(loss.item())
        tracker.log("smooth", self.smoothed())
        return loss

    def smoothed(self):
        return sum(self.history[-10:]) / len(self.history[-10:])
