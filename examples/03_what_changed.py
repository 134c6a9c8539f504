"""A model regresses in production. Which version broke it, what was changed there, since when, and who approved it?

On scikit-learn's bundled Wisconsin data (569 real cases), over one autumn: a production model; a shadow experiment that adds
features; another branch that tunes; a merge of both; then the data pipeline begins to write one column in other units. The
holdout comes out of the same pipeline, so the gate sees nothing. Two versions later November's cases do. Every number is
measured here.

    python examples/03_what_changed.py [FOLDER]
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

import ifpdb as ifp

MODEL = "tumour-screen"
POLICY = "validation: {min_f1: 0.85}\napprovals: {required: 1, not_author: true}\n"
CHECK = """\
import csv, os
import ifpdb as ifp
from sklearn.metrics import f1_score

version = ifp.open().resolve(os.environ["IFP_REF"])
rows = list(csv.DictReader(open("november.csv")))
batch = [[float(row[name]) for name in version.schema.names] for row in rows]
found = f1_score([int(row["malignant"]) for row in rows], version.load_artifact().predict(batch))
print(f"v{version.ordinal} has f1 {found:.3f} on November's cases")
raise SystemExit(found < 0.9)
"""
cancer = load_breast_cancer()
NAMES = [str(name) for name in cancer.feature_names]
MEANS, WORST = NAMES[:10], NAMES[20:]
HOLDOUT, NOVEMBER = slice(300, 420), slice(420, None)


def main() -> None:
    os.chdir(new_folder(sys.argv[1] if len(sys.argv) > 1 else "lineage"))
    write_csv("november.csv", NOVEMBER, NAMES)
    Path("policy.yaml").write_text(POLICY)
    Path("check.py").write_text(CHECK)
    ifp.init()
    team = ifp.registry(MODEL)

    title("September to November: eight versions")
    on("2025-09-01", "ada")
    first = train(rows=150, names=MEANS, C=1.0)
    team.set_policy("policy.yaml")
    promote(team, first)
    on("2025-09-15", "ada")
    second = train(first, rows=200, names=MEANS, C=1.0)
    promote(team, second)
    on("2025-09-22", "linus")
    shadow = train((second, "forked_from"), rows=200, names=MEANS + WORST, C=1.0, stage="shadow", tags=["worst-features"])
    on("2025-09-29", "ada")
    tuned = train(second, rows=200, names=MEANS, C=0.1)
    on("2025-10-06", "ada")
    merged = train(tuned, (shadow, "merged_from"), rows=240, names=MEANS + WORST, C=0.1, labels=["2025-Q4"])
    promote(team, merged)
    on("2025-10-20", "linus")
    units = train(merged, rows=280, names=MEANS + WORST, C=0.1, centimetres=True)
    promote(team, units)
    on("2025-11-03", "ada")
    more = train(units, rows=300, names=MEANS + WORST, C=0.1, centimetres=True)
    promote(team, more)
    on("2025-11-10", "ada")
    last = train(more, rows=300, names=MEANS + WORST, C=0.2, centimetres=True)
    promote(team, last)

    title("17 November: the month's cases are in, and production is wrong about them. Where did it come from?")
    on("2025-11-17", "grace")
    shell("log", MODEL, "--graph")
    title("Which version broke it? Each is checked out and tried on November's cases")
    shell("bisect", "--good", f"{MODEL}@{first.digest}", "--bad", MODEL, "--", sys.executable, "check.py")
    title("What happened on the way from the last good label to production?")
    shell("explain", MODEL, f"{MODEL}@2025-Q4")
    title("Since when is that column so, and since when the rest?")
    shell("blame", MODEL, "--feature", "mean area", "--feature", "worst area", "--param", "C", "--data", "train")
    title("Back to the last good one, with the reason in the log")
    reason = f"v{units.ordinal} was trained on mean area in square centimetres, production sends square millimetres"
    shell("rollback", MODEL, "--to", "2025-Q4", "--reason", reason)
    shell("log", f"{MODEL}@latest", "--svg", "lineage.svg")
    print(f"\nThe registry is {Path('ifp.db').resolve()}, the picture {Path('lineage.svg').resolve()}")


def train(*parents, rows, names, C, centimetres=False, **registration) -> ifp.Version:  # noqa: N803  # scikit-learn's name
    """Fit on the first `rows` cases, measure on the holdout, register: the four parts and where it came from."""
    write_csv("train.csv", slice(0, rows), names, centimetres=centimetres)
    write_csv("holdout.csv", HOLDOUT, names, centimetres=centimetres)
    came_from = [(p.run, "derived_from") if isinstance(p, ifp.Version) else (p[0].run, p[1]) for p in parents]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=C, random_state=0))
    with ifp.track(MODEL, data="train.csv", params={"C": C}, seed=0, derived_from=came_from, autocapture=False) as run:
        features, target = rows_of("train.csv")
        model.fit(features, target)
        run.log_dataset("holdout.csv", role="holdout")
        held_out, truth = rows_of("holdout.csv")
        f1 = f1_score(truth, model.predict(held_out))
        run.log_metric("f1", f1, dataset="holdout.csv")
        version = run.register(model, schema=schema_of(names, features), **registration)
    came = " and ".join(f"v{(p if isinstance(p, ifp.Version) else p[0]).ordinal}" for p in parents) or "nothing"
    print(f"v{version.ordinal} by {os.environ['IFP_ACTOR']}, from {came}: {rows} cases, {len(names)} features, f1 {f1:.3f}")
    return version


def promote(team: ifp.Model, version: ifp.Version) -> None:
    """Grace approves, and the gate lets it in."""
    day, author = os.environ["IFP_NOW"][:10], os.environ["IFP_ACTOR"]
    on(day, "grace", hour=15)
    team.approve(version.run)
    team.promote(version.run, "production")
    on(day, author, hour=16)


def schema_of(names: list[str], features: list[list[float]]) -> list[dict]:
    """One record a feature: name, type, and the range seen in training."""
    return [
        {"position": i, "name": name, "type": "number", "nullable": False, "min": min(values), "max": max(values)}
        for i, (name, values) in enumerate(zip(names, zip(*features, strict=True), strict=True))
    ]


def write_csv(path: str, rows: slice, names: list[str], *, centimetres: bool = False) -> None:
    """The pipeline. `centimetres` is the fault: one column comes in square centimetres instead of millimetres."""
    columns = [cancer.data[rows, NAMES.index(name)] / (100 if centimetres and name == "mean area" else 1) for name in names]
    with Path(path).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "malignant"])
        writer.writerows([*map(float, case), 1 - benign] for *case, benign in zip(*columns, cancer.target[rows], strict=True))


def rows_of(name: str) -> tuple[list[list[float]], list[int]]:
    with Path(name).open() as file:
        _, *rows = csv.reader(file)
    return [[float(cell) for cell in row[:-1]] for row in rows], [int(row[-1]) for row in rows]


def on(day: str, actor: str, hour: int = 9) -> None:
    """The story's clock and who acts in it."""
    os.environ["IFP_NOW"], os.environ["IFP_ACTOR"] = f"{day}T{hour:02}:00:00Z", actor


def title(text: str) -> None:
    print(f"\n── {text}")


def shell(*arguments: str) -> None:
    """Run the command line as a person would."""
    shown = ["python" if argument == sys.executable else argument for argument in arguments]
    print(f"$ ifp {subprocess.list2cmdline(shown)}", flush=True)
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
