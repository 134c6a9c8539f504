"""What was in production on November 14th, exactly how was it trained, and who approved it?

A small team screens tumours with scikit-learn's bundled Wisconsin data (569 real cases, 30 features). Over one autumn
it registers four models: one is stopped by the gate, three enter production, the last of them regresses on new cases
and is rolled back. Then the auditor comes. Every number below is measured here; nothing is written into the script.

    python examples/01_november_14th.py [FOLDER]

The registry stays in FOLDER (./demo) to play with. The story is set in 2025: IFP_NOW dates its events, and the log keeps
the clock's own time beside it.
"""

import csv
import os
import subprocess
import sys
from itertools import count
from pathlib import Path

from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

import ifpdb as ifp

MODEL = "tumour-screen"
POLICY = """\
validation:
  min_f1: 0.92               # on cases that no model was trained on
  dataset: holdout.csv
  beats_production: {f1: 0.0}
approvals: {required: 1, not_author: true}
"""
cancer = load_breast_cancer()
PERIODS = {"train.csv": slice(0, 300), "holdout.csv": slice(300, 400), "november.csv": slice(400, None)}


def main() -> None:
    os.chdir(new_folder(sys.argv[1] if len(sys.argv) > 1 else "demo"))
    for name, rows in PERIODS.items():
        write_csv(name, rows)
    Path("policy.yaml").write_text(POLICY)
    ifp.init()
    team = ifp.registry(MODEL)

    title("6 October: Ada trains a first model, and Grace approves it")
    on("2025-10-06T09:00:00Z", "ada")
    first = train(logistic(C=10.0), tags=["baseline"])
    team.set_policy("policy.yaml")
    approve_and_promote(team, first)

    title("13 October: a simpler model is stopped by the gate")
    on("2025-10-13T09:00:00Z", "ada")
    stump = train(DecisionTreeClassifier(max_depth=1, random_state=0), tags=["simple"])
    on("2025-10-13T14:00:00Z", "grace")
    team.approve(stump.run)
    try:
        team.promote(stump.run, "production")
    except ifp.GateFailed as refusal:
        print(refusal)

    title("20 October: stronger regularization does better")
    on("2025-10-20T09:00:00Z", "ada")
    second = train(logistic(C=0.01), derived_from=first.run, labels=["2025-Q4"])
    approve_and_promote(team, second)

    title("10 November: weaker regularization gains a hair on the holdout")
    on("2025-11-10T09:00:00Z", "linus")
    third = train(logistic(C=1.0), derived_from=second.run)
    approve_and_promote(team, third)

    title("17 November: the month's new cases tell another story")
    on("2025-11-17T08:00:00Z", "grace")
    scores = {version.run: score(version, "november.csv") for version in (second, third)}
    for version in (second, third):
        team.registry.measure(version.run, {"f1": scores[version.run]}, dataset="november.csv")
        print(f"v{version.ordinal} on november.csv: f1 {scores[version.run]:.3f}")
    reason = f"v{third.ordinal} has f1 {scores[third.run]:.3f} on November's cases, v{second.ordinal} {scores[second.run]:.3f}"
    back = team.rollback(reason=reason)
    print(f"rolled back to v{back.ordinal}: {reason}")

    title("The auditor asks: what was in production on November 14th, how was it trained, who approved it?")
    os.environ.pop("IFP_NOW")
    shell("at", "2025-11-14")
    title("... and what had it come from, and what was changed?")
    shell("log", f"{MODEL}@production@{{2025-11-14}}")
    shell("diff", f"{MODEL}@production", f"{MODEL}@production@{{2025-11-14}}")
    title("The whole history, and whether anybody tampered with it")
    shell("history", MODEL)
    shell("verify")
    print(f"\nThe registry is {Path('ifp.db').resolve()}: try ifp ls {MODEL} there, ifp events, or SQL with sqlite3 ifp.db")


def train(model, **registration) -> ifp.Version:
    """Fit on train.csv, measure on holdout.csv, register: the four parts of a version."""
    features, target = rows_of("train.csv")
    parameters = {name: value for name, value in model.get_params().items() if is_plain(value)}
    parents = registration.pop("derived_from", ())
    with ifp.track(MODEL, data="train.csv", params=parameters, seed=0, derived_from=parents) as run:
        model.fit(features, target)
        run.log_dataset("holdout.csv", role="holdout")
        held_out, truth = rows_of("holdout.csv")
        f1 = f1_score(truth, model.predict(held_out))
        run.log_metric("f1", f1, dataset="holdout.csv")
        version = run.register(model, schema=schema_of(features), **registration)
    print(f"v{version.ordinal} {version.name[:40]}…  {version.stage}, f1 {f1:.3f} on holdout.csv")
    return version


def approve_and_promote(team: ifp.Model, version: ifp.Version) -> None:
    """Grace approves in the afternoon and promotes through the gate."""
    on(os.environ["IFP_NOW"].replace("T09", "T15"), "grace")
    team.approve(version.run, reason="looked at the confusion matrix")
    promoted = team.promote(version.run, "production")
    print(f"v{promoted.ordinal} is in {promoted.stage}")


def score(version: ifp.Version, name: str) -> float:
    """F1 of a registered version, loaded by its hash, on a CSV file."""
    features, target = rows_of(name)
    return float(f1_score(target, version.load_artifact().predict(features)))


def logistic(C: float):  # noqa: N803  # scikit-learn's name for it
    return make_pipeline(StandardScaler(), LogisticRegression(C=C, random_state=0))


def is_plain(value: object) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def schema_of(features: list[list[float]]) -> list[dict]:
    """One record a feature: name, type, and the range seen in training."""
    columns = zip(cancer.feature_names, zip(*features, strict=True), strict=True)
    return [
        {"position": i, "name": str(name), "type": "number", "nullable": False, "min": min(values), "max": max(values)}
        for i, (name, values) in enumerate(columns)
    ]


def write_csv(name: str, rows: slice) -> None:
    with Path(name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*cancer.feature_names, "malignant"])
        cases = zip(cancer.data[rows].tolist(), cancer.target[rows].tolist(), strict=True)
        writer.writerows([*case, 1 - benign] for case, benign in cases)


def rows_of(name: str) -> tuple[list[list[float]], list[int]]:
    with Path(name).open() as file:
        _, *rows = csv.reader(file)
    return [[float(cell) for cell in row[:-1]] for row in rows], [int(row[-1]) for row in rows]


def on(time: str, actor: str) -> None:
    """The story's clock and who acts in it."""
    os.environ["IFP_NOW"], os.environ["IFP_ACTOR"] = time, actor


def title(text: str) -> None:
    print(f"\n── {text}")


def shell(*arguments: str) -> None:
    """Run the command line as a person would."""
    print(f"$ ifp {' '.join(arguments)}", flush=True)
    subprocess.run([Path(sys.executable).with_name("ifp"), *arguments], check=True)


def new_folder(name: str) -> Path:
    """`name`, or name-2, name-3 … where it is taken: what an earlier story left stays."""
    for number in count(1):
        folder = Path(name if number == 1 else f"{name}-{number}")
        if not folder.exists():
            folder.mkdir(parents=True)
            return folder
    raise AssertionError


if __name__ == "__main__":
    main()
