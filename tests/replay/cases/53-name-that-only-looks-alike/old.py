import tracker

def prepare(g, h, cfg):
    b = build(cfg)
    return cfg
