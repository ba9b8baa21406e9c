import tracker

class Net:
  def train(self, data):
    for x in data:
      out = self.forward(x)
      self.n += 1
