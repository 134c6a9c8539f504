"""Jobs on a cluster: each has a registry of its own on its node's disk, and in the evening they become one.

Forty writers of one file on a shared disk wait for each other. Here no job waits for another: it writes beside its
scratch files, and `ifp merge` copies facts and blobs by their digest, whatever was merged before.

    python examples/05_merge_in_the_evening.py [FOLDER]
"""

import os
import subprocess
import sys
from itertools import count
from pathlib import Path

import ifpdb as ifp

MODEL = "digits"
DEPTHS, SEEDS = (2, 8), (1, 2)
JOB = """
import sys
from pathlib import Path
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import train_test_split
import ifpdb as ifp

depth, seed = map(int, sys.argv[1:])
X, y = load_digits(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X, y, random_state=0)
with ifp.track("digits", db="ifp.db") as run:
    forest = RandomForestClassifier(n_estimators=20, max_depth=depth, random_state=seed).fit(X_train, y_train)
    run.log_metric("accuracy", forest.score(X_val, y_val))
    run.register(tags=[f"depth-{depth}"])
"""


def main() -> None:
    os.chdir(new_folder(sys.argv[1] if len(sys.argv) > 1 else "day"))
    Path("job.py").write_text(JOB)

    title("The day: each job trains on its own node, and knows of no other")
    for number, (depth, seed) in enumerate((depth, seed) for depth in DEPTHS for seed in SEEDS):
        scratch = Path(f"node-{number}")
        scratch.mkdir()
        command = [sys.executable, "../job.py", str(depth), str(seed)]
        subprocess.run(command, cwd=scratch, env=os.environ | {"IFP_ACTOR": f"job-{number}"}, check=True)
        print(f"node-{number}: depth {depth}, seed {seed}")

    title("One of them ran twice: the same four parts are the same version")
    command = [sys.executable, "../job.py", str(DEPTHS[0]), str(SEEDS[0])]
    Path("node-4").mkdir()
    subprocess.run(command, cwd="node-4", env=os.environ | {"IFP_ACTOR": "job-4"}, check=True)

    title("The evening: everything into one registry; what was merged already changes nothing")
    os.environ["IFP_ACTOR"] = "ada"
    shell("init")
    for scratch in sorted(Path().glob("node-*")):
        shell("merge", f"{scratch}/ifp.db")
    shell("merge", "node-0/ifp.db")

    title("Which was the best of the day?")
    shell("ls", MODEL, "--where", "accuracy > 0.9")
    with ifp.open() as registry:
        model = registry.model(MODEL)
        best = max(model.versions(), key=lambda version: version.metrics["accuracy"])
        model.set_policy({"validation": {"min_accuracy": 0.9}})
        model.promote(best.digest, "production", reason="the best of the day")
    shell("at", "now", MODEL)
    shell("verify")
    shell("fsck")


def shell(*words: str) -> None:
    print(f"$ ifp {' '.join(words)}", flush=True)
    subprocess.run([sys.executable, "-c", "from ifpdb.cli import main; main()", *words], check=True)


def title(text: str) -> None:
    print(f"\n== {text}", flush=True)


def new_folder(wanted: str) -> Path:
    """`wanted`, or the next of wanted-2, wanted-3, … that isn't there yet."""
    for number in count(1):
        folder = Path(wanted if number == 1 else f"{wanted}-{number}")
        if not folder.exists():
            folder.mkdir(parents=True)
            return folder
    raise AssertionError


if __name__ == "__main__":
    main()
