import tracker

async def handle(queue, model, timeout=5):
    async for message in queue:
        match message:
            case {"kind": "train", "batch": batch}:
                loss = await model.fit(batch)
                tracker.log("loss", loss)
                await queue.ack(message)
            case {"kind": "evaluate"}:
                await model.evaluate()
            case {"kind": "stop"}:
                break
