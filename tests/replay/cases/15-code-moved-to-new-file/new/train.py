import tracker
from evaluation import evaluate

for epoch in range(10):
    train(model, train_loader)
    evaluate(model, val_loader)
