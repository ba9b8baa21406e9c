import tracker

for epoch in range(3):
    # one pass over the data
    loss = fit(model)  # mean over batches

    # keep an eye on the loss
    tracker.log("loss", loss)  # per epoch

    # then the checkpoint
    save(model, epoch)
