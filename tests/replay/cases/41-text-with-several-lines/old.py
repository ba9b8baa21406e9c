import tracker

def report(model):
  text = model.describe()
  return text
