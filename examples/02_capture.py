"""Ordinary training code, and the four parts of a version recorded around it.

The block below the first title is the whole of it: `with ifp.track(...)` around code that trains, and two calls on `run`.
After it the parts are looked at, batches are held against the schema, and a pickle that would run a command is refused.

    python examples/02_capture.py [FOLDER]
"""

import csv
import os
import pickle
import subprocess
import sys
from itertools import count
from pathlib import Path

from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ifpdb as ifp


def main() -> None:
    os.chdir(new_folder(sys.argv[1] if len(sys.argv) > 1 else "demo"))
    X, y = load_breast_cancer(return_X_y=True)
    X_train, X_val, y_train, y_val = train_test_split(X, y, random_state=7)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.5, random_state=7))

    title("Train inside a track")
    with ifp.track("fraud-detector") as run:
        model.fit(X_train, y_train)
        f1 = f1_score(y_val, model.predict(X_val))
        run.log_metric("f1", f1)
        version = run.register(stage="staging", tags=["q1-retrain"])
    print(f"{version.name}\nv{version.ordinal}, {version.stage}, all four parts: {not version.partial}")

    title("What was recorded")
    shell("show", "fraud-detector@latest")

    title("The model comes back by hash; its digests can be computed again")
    again = ifp.get_run(run.id).load_artifact()
    print("same predictions:", bool((again.predict(X_val) == model.predict(X_val)).all()))
    print("same data:", ifp.hash_data(X_train) == version.data[0].digest)

    title("Batches against the schema that was seen in training")
    write_csv("batch.csv", version.schema.names, X_train[:20])
    shell("validate", run.id, "batch.csv")
    write_csv("permuted.csv", version.schema.names[::-1], X_train[:20, ::-1])
    shell("validate", run.id, "permuted.csv", code=1)

    title("A pickle from somewhere else")
    Path("download.pkl").write_bytes(pickle.dumps(Payload()))
    download = ifp.register("fraud-detector", "download.pkl", partial=True)
    try:
        download.load_artifact()
    except ifp.Untrusted as refusal:
        print("refused:", refusal)
    shell("trust", download.name, code=7)
    print("the command has run:", Path("was-here").exists())


class Payload:
    """What an attacker's pickle looks like: loading it calls a function of the attacker's choice."""

    def __reduce__(self):
        return os.system, ("touch was-here",)


def write_csv(name: str, names: tuple[str, ...], rows: list[list[float]]) -> None:
    with Path(name).open("w", newline="") as file:
        csv.writer(file).writerows([names, *rows])


def title(text: str) -> None:
    print(f"\n── {text}")


def shell(*arguments: str, code: int = 0) -> None:
    """Run the command line as a person would; `code` is how it is meant to end."""
    print(f"$ ifp {' '.join(arguments)}", flush=True)
    done = subprocess.run([Path(sys.executable).with_name("ifp"), *arguments], check=False, stderr=subprocess.STDOUT)
    assert done.returncode == code, done.returncode


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
