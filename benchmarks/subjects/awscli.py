"""The command line of AWS; measured on a tenth of the runs, because all of them take it minutes."""

from harness.model import Subject

SUBJECT = Subject(name="awscli", requirements=("awscli",), distribution="awscli", calls={"sync": 100})
