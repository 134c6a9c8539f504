"""An endpoint that serves what is in production, swaps when that changes, and says so.

    pip install ifpdb fastapi uvicorn
    python endpoint.py MODEL ENVIRONMENT --port 8000        # the registry is ./ifp.db, or IFP_DB

POST /predict takes {"rows": [{"amount": 12.5, "country": "DE"}, …]}. Rows that aren't what the version was trained on get 422
and each way in which they aren't. Every answer names the version that gave it. GET / says what is served since when, and what
went wrong last: a version that can't be loaded doesn't displace the one that is served.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, Field

import ifpdb as ifp


@dataclass(frozen=True)
class Served:
    """A version, and its model in memory."""

    version: ifp.Version
    model: Any
    since: float


class Endpoint:
    """Serves one model as one environment."""

    def __init__(self, registry: ifp.Registry, name: str, environment: str) -> None:
        self.registry, self.model, self.environment = registry, registry.model(name), environment
        self.served: Served | None = None
        self.trouble = ""

    def follow(self) -> None:
        """Keep up with the registry, for ever. What it says while it can't be read is nothing new."""
        while True:
            try:
                events = self.registry.follow(model=self.model.name)  # from now on; then look, so that nothing falls in between
                self.keep_up()
                for event in events:
                    if event.to_stage is not None:
                        self.keep_up()
            except ifp.IfpError as error:
                self.say(str(error))
                time.sleep(5)

    def keep_up(self) -> None:
        """Serve what is in production now, and record that it is."""
        try:
            wanted, before = self.model.production, self.served
            if wanted is None:
                self.served = None
                if before is not None:
                    self.registry.deployed(before.version.name, self.environment, stopped=True)
                    self.say(f"serves nothing: {self.model.name} has no version in production")
                return
            if before is None or before.version.digest != wanted.digest:
                self.served = Served(wanted, wanted.load_artifact(), time.time())  # a request sees the old one or the new one
                self.say(f"serves v{wanted.ordinal} {wanted.name}")
            self.registry.deployed(wanted.name, self.environment)  # writes nothing where that is known
            self.trouble = ""
        except ifp.IfpError as error:
            self.trouble = str(error)
            self.say(self.trouble)

    def predict(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Raises HTTPException: 503 while nothing is served, 422 for rows that the model wasn't trained for."""
        served = self.served
        if served is None:
            raise HTTPException(503, f"{self.model.name} has no version in production")
        schema = served.version.schema
        if schema is not None:
            try:
                found = schema.validate(rows)
            except ifp.UsageError as error:
                raise HTTPException(422, str(error)) from None
            if not found.ok:
                raise HTTPException(422, [f"{problem.feature}: {problem.detail}" for problem in found.problems])
            rows = schema.align(rows)
        values = served.model.predict([list(row.values()) for row in rows])
        return {
            "version": served.version.name,
            "predictions": [getattr(value, "item", lambda v=value: v)() for value in values],
        }

    def status(self) -> dict[str, Any]:
        """What is served since when (seconds since 1970), and what went wrong last."""
        served = self.served
        return {
            "version": served and served.version.name,
            "since": served and served.since,
            "environment": self.environment,
            "trouble": self.trouble,
        }

    @staticmethod
    def say(text: str) -> None:
        print(text, flush=True)


class Batch(BaseModel):
    rows: list[dict[str, Any]] = Field(min_length=1)


def application(endpoint: Endpoint) -> FastAPI:
    """The web application around an endpoint."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        threading.Thread(target=endpoint.follow, daemon=True).start()
        yield

    app = FastAPI(title=endpoint.model.name, lifespan=lifespan)
    app.get("/")(endpoint.status)

    @app.post("/predict")
    def predict(batch: Batch) -> dict[str, Any]:  # no `async`: FastAPI runs it in a thread, beside other requests
        return endpoint.predict(batch.rows)

    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("environment")
    parser.add_argument("--port", type=int, default=8000)
    asked = parser.parse_args()
    try:
        with ifp.open() as registry:
            registry.model(asked.model).versions(limit=1)  # is there such a model?
            endpoint = Endpoint(registry, asked.model, asked.environment)
            uvicorn.run(application(endpoint), host="127.0.0.1", port=asked.port, log_level="warning")
    except ifp.IfpError as error:
        sys.exit(f"endpoint: {error}")
