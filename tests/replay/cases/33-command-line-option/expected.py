import argparse
import tracker

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--log-every", type=int, default=10)
args = parser.parse_args()

for step, batch in enumerate(loader):
    loss = fit(batch, args.lr)
    if step % args.log_every == 0:
        tracker.log("loss", loss)
