import argparse
import tracker

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
args = parser.parse_args()

for step, batch in enumerate(loader):
    loss = fit(batch, args.lr)
