"""`python -m ifpdb.outbox PATH`: deliver what is due of one registry, silently; `ifp outbox` shows what came of it."""

import sys
from pathlib import Path

from ..desk import Registry
from .delivery import deliver

with Registry(Path(sys.argv[1]), readonly=True) as registry:
    deliver(registry, due_only=True)
