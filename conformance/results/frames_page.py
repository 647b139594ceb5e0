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

`str` is pandas' own dtype of text: `object` before pandas 3, `str` since.

## Files

A run ends with these files in its folder, made from the same frames; `conformance report FOLDER` makes them anew.

| file | what it holds |
| --- | --- |
| `records.csv`, `curves.csv` | the frames `records` and `curves` |
| `records.parquet`, `curves.parquet` | the same, if pyarrow is installed (the extra `parquet`) |
| `report.html` | the run as a page with its curves, for any browser; it needs no network |
| `summary.md` | the run on one page |
| `comment.md` | the run in less than 60 lines, for a pull request |
| `junit.xml` | a test case for each check of each training; the environment as properties |
| `summary.json` | the run for programs, see below |
| `environment.json` | all facts: the environment, the implementations, the recipes in full |

A test case is a `failure` where a comparison failed, an `error` where nothing was there to be compared, and `skipped`
where nothing of the check is offered.

`summary.json` is one object; null stands for a number that is not there.

| key | value |
| --- | --- |
| `schema_version` | 1; one more with each change that a reader would have to know of |
| `run` | name of the run's folder |
| `verdict` | `pass`, `fail` or `incomplete` |
| `conclusion` | the verdict in words |
| `incomplete` | what lacks, and why; empty for a run that came to its end |
| `stopped` | whether it ended with the first check that did not pass, as it was asked to |
| `recipes`, `records` | number of recipes, and of records |
| `verdicts` | number of records of each verdict |
| `implementations` | rows of the frame `implementations` |
| `offering_nothing` | names of implementations of which nothing could be compared |
| `first_failures` | rows of the frame `first_failures` |
| `explanations` | rows of the frame `explanations` |
| `unexplained` | number of recipes and implementations that fail and that nobody has explained |
| `environment` | the frame `environment`, as an object |"""

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
