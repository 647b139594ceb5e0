"""``docs/frames.md``: what a run's frames hold, from the schema.

``python -m conformance.results.frames_page`` prints it.
"""

from conformance.results.schema import FRAMES, Frame

INTRODUCTION = """\
# The frames of a run

Made from `conformance/results/schema.py` by

    python -m conformance.results.frames_page > docs/frames.md

`conformance.load_run(FOLDER)`, of a run that has ended or was broken off, has everything that was measured as pandas
frames; every table of a report is one of them. They are made when they are asked for.

```python
>>> import conformance
>>> run = conformance.load_run("reports/latest")
>>> run.passed, run.incomplete, run.conclusion
(True, '', 'Every implementation conforms')
>>> costs = run.curves[run.curves["quantity"] == "cost"]
>>> worst = costs.groupby("implementation")["error"].max()

```

Beside the frames a run has `passed`, `conclusion` (a line), `incomplete` (what lacks, or nothing), `stopped`,
`offering_nothing`, `unexplained`, `not_passing(require_all=False)`, `recipes` and `facts`. In a notebook it shows its
verdict and the matrix of verdicts.

## Values

Text is never missing, it may be empty. Numbers that are not there are NaN; `inf` is a number. The dtypes are the same
from a run's database, from its CSV files and from its Parquet files, if these are read by

```python
>>> from conformance.results.schema import read_csv, read_parquet
>>> records = read_csv("records", "reports/latest/records.csv")
>>> records.equals(run.records)
True

```

`str` is pandas' own dtype of text: `object` before pandas 3, `str` since."""

FURTHER = "*one for each implementation*"


def page() -> str:
    """The page, in Markdown."""
    return "\n\n".join([INTRODUCTION, *(_section(name, frame) for name, frame in FRAMES.items())]) + "\n"


def _section(name: str, frame: Frame) -> str:
    columns = {f"`{column}`": described for column, described in frame.columns.items()}
    if frame.further:
        columns[FURTHER] = frame.further
    rows = [f"| {column} | {described.dtype} | {described.description} |" for column, described in columns.items()]
    return "\n".join([f"## `{name}`\n\n{frame.description}\n", "| column | dtype | |", "| --- | --- | --- |", *rows])


if __name__ == "__main__":
    print(page(), end="")
