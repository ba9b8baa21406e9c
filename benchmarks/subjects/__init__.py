"""One file per measured library; a new one is a file here and its name in the cases that it takes part in."""

EVERYBODY = (
    *("hindsight", "flordb", "kohakuboard", "laaos", "tensorboardx", "trackio", "wandb", "datafolio"),
    *("rclone", "awscli"),
)
"""Order of the columns."""

LEFT_OUT = {
    "minimetr": "left out, not published as a package",
    "mlflow, aim, dvclive": "left out to keep the whole run short",
}
