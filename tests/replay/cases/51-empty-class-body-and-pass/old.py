import tracker

class Callback:
    def on_epoch_end(self, trainer, loss):
        pass

    def on_step_end(self, trainer):
        ...
