"""A registry is harmed in four ways. What do fsck and verify say of each, and how is it mended?

A bit of a blob flips, a blob is deleted, a row is edited around the rules, and the newest event is cut off. A backup was
made before, and the log's head was noted elsewhere, as the message of a git commit would.

    python examples/04_what_is_damaged.py [FOLDER]
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from itertools import count
from pathlib import Path

import ifpdb as ifp

MODEL = "fraud-detector"


def main() -> None:
    os.chdir(new_folder(sys.argv[1] if len(sys.argv) > 1 else "damaged"))
    os.environ["IFP_ACTOR"] = "ada"

    title("Three versions, one of them in production, and a backup")
    with ifp.init() as registry:
        Path("train.csv").write_text("amount,country\n12.5,DE\n99.0,FR\n")
        for number in (1, 2, 3):
            Path("model.bin").write_text(f"the weights of version {number}")
            registry.register(MODEL, "model.bin", data="train.csv", schema=SCHEMA, params={"C": number}, metrics={"f1": 0.9})
        registry.model(MODEL).set_policy({"validation": {"min_f1": 0.8}})
        registry.model(MODEL).promote("v2", "production", approved_by="grace")
        head = registry.events()[-1].id
        blobs = [registry.blobs.path(registry.artifact(f"{MODEL}@v{number}").digest) for number in (1, 2, 3)]
    shell("fsck")
    shell("verify", "--anchor", head)
    shell("backup", "safe")

    title("One bit of v1's weights flips, and v3's weights are deleted")
    flip_a_bit(blobs[0])
    blobs[2].unlink()
    shell("fsck")

    title("The backup has both: they are fetched by their digest")
    shell("fsck", "--from", "safe")

    title("Somebody drops the rules and edits a row: v2 was trained with C = 20, it now says")
    with_sqlite3("UPDATE param SET value = '20' WHERE run = (SELECT run.key FROM run WHERE version = 2)")
    shell("fsck")
    restore()

    title("Somebody rewrites an event: grace is no longer who approved")
    with_sqlite3("UPDATE event SET body = replace(body, 'grace', 'linus') WHERE kind = 'promoted'")
    shell("verify")
    restore()

    title("Somebody cuts off the newest event, and mends everything that would tell")
    with_sqlite3(
        "DELETE FROM event WHERE kind = 'promoted'",
        "UPDATE version SET stage = 'staging'",
        "DELETE FROM head",
        "INSERT INTO head SELECT 'sha256:' || lower(hex(id)) FROM event WHERE kind = 'policy_set'",
    )
    shell("verify")
    print("\nBy itself the file can't tell. The head that was noted elsewhere can:")
    shell("verify", "--anchor", head)
    restore()
    shell("verify", "--anchor", head)


SCHEMA = {
    "features": [
        {"position": 0, "name": "amount", "type": "number", "min": 0, "max": 25000},
        {"position": 1, "name": "country", "type": "category", "categories": ["DE", "FR"]},
    ]
}


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def with_sqlite3(*statements: str) -> None:
    """What a thief with the file can do: drop the rules, change rows, put the rules back."""
    connection = sqlite3.connect("ifp.db")
    rules = connection.execute("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").fetchall()
    for name, _ in rules:
        connection.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        connection.execute(statement)
    for _, text in rules:
        connection.execute(text)
    connection.commit()
    connection.close()


def restore() -> None:
    print("$ cp safe/ifp.db ifp.db")
    shutil.copy("safe/ifp.db", "ifp.db")


def title(text: str) -> None:
    print(f"\n── {text}")


def shell(*arguments: str) -> None:
    """Run the command line as a person would; a check that answers no ends with 1."""
    print(f"$ ifp {subprocess.list2cmdline(arguments)}", flush=True)
    done = subprocess.run([Path(sys.executable).with_name("ifp"), *arguments], check=False)
    if done.returncode > 1:
        raise SystemExit(done.returncode)


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
