import tracker

async def handle(queue, model):
    async for message in queue:
        match message:
            case {"kind": "train", "batch": batch}:
                loss = await model.fit(batch)
                tracker.log("loss", loss)
                await queue.ack(message)
            case {"kind": "stop"}:
                break
