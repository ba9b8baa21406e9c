"""The floor: the same loops with a statement that does nothing, which shows what machine and clock do by themselves."""

from harness.model import Subject

SUBJECT = Subject(name="nothing", begin=dict, log="pass", log_row="pass", record="pass")
