import tracker

def report(model):
        text = model.describe()
        tracker.log("report", """
model:
    indented as it is
""" + text)
        return text
