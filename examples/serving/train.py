"""Trains a small fraud detector on made-up data and registers it: python train.py DEPTH"""

import sys

import numpy as np
from sklearn.metrics import f1_score
from sklearn.tree import DecisionTreeClassifier

import ifpdb as ifp

rng = np.random.default_rng(7)
amount, night = rng.gamma(2, 60, 2000).round(2), rng.integers(0, 2, 2000)
X, y = np.column_stack([amount, night]), amount / 300 + night + rng.normal(0, 0.2, 2000) > 1
depth = int(sys.argv[1])
model = DecisionTreeClassifier(max_depth=depth, random_state=7).fit(X[:1500], y[:1500])
version = ifp.register(
    "fraud",
    model,
    data={"amount": amount[:1500], "night": night[:1500]},
    schema={
        "features": [
            {"position": 0, "name": "amount", "type": "number", "nullable": False, "min": 0, "max": 5000},
            {"position": 1, "name": "night", "type": "integer", "nullable": False, "min": 0, "max": 1},
        ]
    },
    params={"max_depth": depth},
    seed=7,
    metrics={"f1": round(f1_score(y[1500:], model.predict(X[1500:])), 2)},
)
print(f"v{version.ordinal} has f1 {version.metrics['f1']:g}")
