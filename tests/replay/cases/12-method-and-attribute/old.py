import tracker


class Trainer:
    def __init__(self, model, opt):
        self.model = model
        self.opt = opt

    def step(self, batch):
        loss = self.model.loss(batch)
        loss.backward()
        self.opt.step()
        return loss
