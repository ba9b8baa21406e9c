import tracker

def prepare(g, h, cfg):
    b = build(cfg)
    if g is not None:
        n = g(cfg)
    else:
        n = h(cfg)
    tracker.log("n", n)
    return cfg
