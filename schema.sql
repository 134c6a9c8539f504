-- The whole of an ifpdb registry: facts, names that move, the log, the rules that hold them together, and views.
--
-- How to read it
--   Tables have singular names and local integer keys (`key`), which never leave this file. Views have plural
--   names, hex digests and plain columns: an auditor with only the sqlite3 shell wants the views, at the end.
--   A digest is SHA-256: 32 bytes in a table, 'sha256:<64 hex>' in a view and in an event.
--   A time is UTC text with microseconds, '2025-11-14T09:30:00.000000Z', so that text order is time order.
--   docs/format.md says how each digest is computed.

---------------------------------------------------------------------------------------------------------------
-- Facts: what was seen. Keyed by content or by id, so that two registries can be put together.
---------------------------------------------------------------------------------------------------------------

-- One row: what a program must know before it reads on. The schema's number is PRAGMA user_version.
CREATE TABLE registry (
  only       INTEGER PRIMARY KEY CHECK (only = 1),
  min_reader INTEGER NOT NULL          -- the oldest schema number whose programs may still read this file
) STRICT;

-- A model: a name under which versions are registered, such as 'fraud-detector'.
CREATE TABLE model (
  key  INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
       CHECK (name NOT GLOB '*[^a-z0-9._-]*' AND name GLOB '[a-z0-9]*' AND name NOT GLOB 'run-*' AND length(name) <= 128)
) STRICT;

-- Bytes that lie in the folder beside this file, at NAME.cas/sha256/<2 hex>/<62 hex>.
CREATE TABLE blob (
  key    INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),  -- SHA-256 of the bytes
  size   INTEGER NOT NULL CHECK (size >= 0),                -- in bytes
  xxh3   BLOB NOT NULL CHECK (length(xxh3) = 16)            -- xxh3-128 of the bytes: only asks "did they rot?"
) STRICT;

-- Training or evaluation data, known by the digest of its content or by a stable pointer to it; never the data itself.
CREATE TABLE dataset (
  key     INTEGER PRIMARY KEY,
  digest  BLOB UNIQUE CHECK (length(digest) = 32),   -- content: a table's values, a file's bytes, or a folder's listing
  pointer TEXT UNIQUE CHECK (pointer GLOB '?*#?*'),  -- uri#revision, where the bytes can't be had
  kind    TEXT NOT NULL CHECK (kind IN ('table', 'file', 'tree', 'pointer')),
  size    INTEGER CHECK (size >= 0),                 -- in bytes, where known
  rows    INTEGER CHECK (rows >= 0),                 -- where known
  CHECK ((digest IS NULL) <> (pointer IS NULL)),
  CHECK ((pointer IS NOT NULL) = (kind = 'pointer'))
) STRICT;

-- A column of a table. Equal digests are equal values, so that "which column changed" is a query.
CREATE TABLE dataset_column (
  dataset     INTEGER NOT NULL REFERENCES dataset(key),
  position    INTEGER NOT NULL CHECK (position >= 0),        -- 0 is the first column
  name        TEXT NOT NULL,
  type        TEXT NOT NULL,                                 -- 'f64', 'i32', 'utf8', 'ts[utc]', …: docs/format.md
  digest      BLOB NOT NULL CHECK (length(digest) = 32),     -- of its type and values, not of its name
  nulls       INTEGER NOT NULL CHECK (nulls >= 0),
  categorical INTEGER NOT NULL CHECK (categorical IN (0, 1)),
  min         ANY,                                           -- the least value: a number, or a time as text
  max         ANY,                                           -- the greatest
  "values"    TEXT CHECK (json_type("values") = 'array'),    -- the distinct values, where they are few
  edges       TEXT CHECK (json_type(edges) = 'array'),       -- of the profile's bins; a bin holds its upper edge
  counts      TEXT CHECK (json_type(counts) = 'array'),      -- how many values lie in each bin, or are each of "values"
  PRIMARY KEY (dataset, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX dataset_column_digest ON dataset_column(digest);

-- The digest of a table's first rows: of every 65,536, of all, and of as many as the model's tables before it had. Two tables
-- with an equal one begin with the same rows.
CREATE TABLE dataset_prefix (
  dataset INTEGER NOT NULL REFERENCES dataset(key),
  rows    INTEGER NOT NULL CHECK (rows > 0),
  digest  BLOB NOT NULL CHECK (length(digest) = 32),
  PRIMARY KEY (dataset, rows)
) STRICT, WITHOUT ROWID;
CREATE INDEX dataset_prefix_digest ON dataset_prefix(digest);

-- A feature schema: what the model expects as input. Its rows are in `feature`.
CREATE TABLE feature_schema (
  key    INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),  -- SHA-256 of body
  body   TEXT NOT NULL CHECK (json_valid(body))             -- canonical JSON
) STRICT;

-- One input feature of a schema.
CREATE TABLE feature (
  schema     INTEGER NOT NULL REFERENCES feature_schema(key),
  position   INTEGER NOT NULL CHECK (position >= 0),        -- 0 is the first column
  name       TEXT NOT NULL,
  type       TEXT NOT NULL
             CHECK (type IN ('number', 'integer', 'boolean', 'string', 'category', 'timestamp', 'date', 'tensor')),
  nullable   INTEGER NOT NULL CHECK (nullable IN (0, 1)),
  min        ANY,                                           -- the least value in training: a number, or a time as text
  max        ANY,                                           -- the greatest
  categories TEXT CHECK (json_type(categories) = 'array'),  -- the values seen in training, as a JSON array
  dtype      TEXT,                                          -- of a tensor's elements, as in 'float32'
  shape      TEXT CHECK (json_type(shape) = 'array'),       -- of one row of a tensor, as in [28, 28]
  PRIMARY KEY (schema, position),
  UNIQUE (schema, name)
) STRICT, WITHOUT ROWID;

-- Where a run took place: Python, platform, processor, and the versions of the packages that it had imported.
CREATE TABLE environment (
  key    INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),  -- SHA-256 of body
  body   TEXT NOT NULL CHECK (json_valid(body))             -- canonical JSON
) STRICT;

-- The project's own source files that a run had imported.
CREATE TABLE code (
  key    INTEGER PRIMARY KEY,
  digest BLOB NOT NULL UNIQUE CHECK (length(digest) = 32),  -- SHA-256 of body
  body   TEXT NOT NULL CHECK (json_type(body) = 'array')    -- canonical JSON: [[path, 'sha256:<hex>'], …] by path
) STRICT;

-- A version: what a run registered. Its four parts are named in the manifest and never change.
CREATE TABLE version (
  key      INTEGER PRIMARY KEY,
  model    INTEGER NOT NULL REFERENCES model(key),
  digest   BLOB NOT NULL CHECK (length(digest) = 32),       -- SHA-256 of manifest: what the version is called
  manifest TEXT NOT NULL CHECK (json_valid(manifest)),      -- canonical JSON; {"data", "schema", "training", "type", "weights"}
  ordinal  INTEGER NOT NULL CHECK (ordinal > 0),            -- 8 for v8; after a merge two versions may bear one number
  weights  INTEGER REFERENCES blob(key),                    -- the artifact; NULL in a version that lacks this part
  schema   INTEGER REFERENCES feature_schema(key),          -- the feature schema; NULL where it is missing
  partial  INTEGER GENERATED ALWAYS AS                      -- 1 when one of the four parts is missing
           (json_type(manifest, '$.weights') = 'null' OR json_type(manifest, '$.data') = 'null'
            OR json_type(manifest, '$.schema') = 'null' OR json_type(manifest, '$.training') = 'null') VIRTUAL,
  stage    TEXT CHECK (stage IN ('staging', 'shadow', 'production', 'archived')),  -- what the newest event on it says
  sha256   TEXT AS ('sha256:' || lower(hex(digest))) VIRTUAL,  -- its digest as views and events write it, to join on
  UNIQUE (sha256, model)
) STRICT;
CREATE INDEX version_weights ON version(weights);
CREATE INDEX version_ordinal ON version(model, ordinal);
CREATE INDEX version_stage ON version(model, stage);
CREATE UNIQUE INDEX one_production ON version(model) WHERE stage = 'production';

-- A run: one execution, observed. A version's own run is the earliest that registered it, by (registered_at, id).
CREATE TABLE run (
  key           INTEGER PRIMARY KEY,
  id            TEXT NOT NULL UNIQUE CHECK (id GLOB 'run-?*' AND substr(id, 5) NOT GLOB '*[^a-z0-9-]*'),
  model         INTEGER NOT NULL REFERENCES model(key),
  status        TEXT NOT NULL CHECK (status IN ('running', 'finished', 'failed', 'killed')),
  actor         TEXT NOT NULL,                               -- who ran it
  started_at    TEXT NOT NULL,
  ended_at      TEXT,
  error         TEXT,                                        -- 'ValueError: …' of a failed run
  fit           TEXT CHECK (json_type(fit) = 'object'),      -- seen training: {"estimator", "method", "seconds", "steps"?}
  seed          INTEGER,
  command       TEXT CHECK (json_type(command) = 'array'),   -- argv, secrets removed, paths relative to the project
  environment   INTEGER REFERENCES environment(key),
  code          INTEGER REFERENCES code(key),
  code_commit   TEXT,                                        -- git's commit when it started
  code_dirty    INTEGER CHECK (code_dirty IN (0, 1)),        -- 1: tracked files differed from that commit
  code_diff     BLOB CHECK (length(code_diff) = 32),         -- SHA-256 of `git diff HEAD` when it was dirty
  version       INTEGER REFERENCES version(key),             -- what it registered, if anything
  registered_at TEXT,                                        -- when it registered that
  generation    INTEGER NOT NULL CHECK (generation > 0),     -- 1 + the greatest of its parents': bounds every walk
  live_bytes    INTEGER NOT NULL DEFAULT 0,                  -- how much of its live metrics file is in this database
  CHECK ((version IS NULL) = (registered_at IS NULL))
) STRICT;
CREATE INDEX run_version ON run(version, registered_at, id);
CREATE INDEX run_model ON run(model, started_at);
CREATE INDEX run_running ON run(key) WHERE status = 'running';

-- A parameter of a run: a hyperparameter or any other setting.
CREATE TABLE param (
  run   INTEGER NOT NULL REFERENCES run(key),
  key   TEXT NOT NULL,
  value TEXT NOT NULL CHECK (json_valid(value)),             -- JSON, so that 1, 1.0, '1' and true stay apart
  PRIMARY KEY (run, key)
) STRICT, WITHOUT ROWID;

-- A metric of a run, on one dataset or on none that is known. NULL in last, min or max means "not a number".
CREATE TABLE metric (
  run     INTEGER NOT NULL REFERENCES run(key),
  name    TEXT NOT NULL,
  dataset INTEGER REFERENCES dataset(key),                   -- what it was measured on; NULL: nobody said
  last    REAL,
  min     REAL,                                              -- of the points that are numbers
  max     REAL,
  count   INTEGER NOT NULL CHECK (count > 0),                -- how many points
  at      TEXT NOT NULL,                                     -- when the last point was logged
  series  BLOB NOT NULL                                      -- every point, compressed: 'ifp-series/1' in docs/format.md
) STRICT;
CREATE UNIQUE INDEX metric_identity ON metric(run, name, coalesce(dataset, 0));

-- The data that a run used, by role. 'test' and 'holdout' evaluate; every other role is training data.
CREATE TABLE run_dataset (
  run     INTEGER NOT NULL REFERENCES run(key),
  role    TEXT NOT NULL CHECK (role NOT GLOB '*[^a-z0-9_-]*' AND role <> ''),
  dataset INTEGER NOT NULL REFERENCES dataset(key),
  name    TEXT,                                              -- what this run called it
  uri     TEXT,                                              -- where this run found it; never an absolute path
  file    BLOB CHECK (length(file) = 32),                    -- SHA-256 of the bytes of the file that held the table
  PRIMARY KEY (run, role, dataset)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_dataset_dataset ON run_dataset(dataset);
CREATE INDEX run_dataset_name ON run_dataset(name);

-- A file or folder that a run kept. The one named 'model' holds the weights.
CREATE TABLE artifact (
  run    INTEGER NOT NULL REFERENCES run(key),
  name   TEXT NOT NULL,
  blob   INTEGER NOT NULL REFERENCES blob(key),              -- the file, or the tree's listing
  kind   TEXT NOT NULL CHECK (kind IN ('file', 'tree')),
  format TEXT NOT NULL,                                      -- how it is read: 'pickle', 'npy', 'safetensors', 'bytes', …
  size   INTEGER NOT NULL CHECK (size >= 0),                 -- in bytes; of a tree, of all its files
  PRIMARY KEY (run, name)
) STRICT, WITHOUT ROWID;

-- Lineage: `child` came from `parent`, in a kept order (position 1 is what REF~1 and REF^ follow).
CREATE TABLE edge (
  child    INTEGER NOT NULL REFERENCES run(key),
  position INTEGER NOT NULL CHECK (position > 0),
  parent   INTEGER NOT NULL REFERENCES run(key) CHECK (parent <> child),
  kind     TEXT NOT NULL CHECK (kind IN ('derived_from', 'forked_from', 'fine_tuned_from', 'distilled_from',
                                         'merged_from', 'quantized_from')),
  PRIMARY KEY (child, position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX edge_parent ON edge(parent, child);

---------------------------------------------------------------------------------------------------------------
-- Names that move: what the newest events on them say.
---------------------------------------------------------------------------------------------------------------

-- A tag: many versions may bear it, and a version many.
CREATE TABLE tag (
  version INTEGER NOT NULL REFERENCES version(key),
  name    TEXT NOT NULL CHECK (name NOT GLOB '*[^a-z0-9._-]*' AND name GLOB '[a-z0-9]*' AND length(name) <= 128),
  PRIMARY KEY (version, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX tag_name ON tag(name, version);

-- A label: a human name for one version of a model, such as '2025-Q4'.
CREATE TABLE label (
  model   INTEGER NOT NULL REFERENCES model(key),
  name    TEXT NOT NULL CHECK (name NOT GLOB '*[^A-Za-z0-9._-]*' AND name GLOB '[A-Za-z0-9]*' AND length(name) <= 128),
  version INTEGER NOT NULL REFERENCES version(key),
  PRIMARY KEY (model, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX label_version ON label(version);

---------------------------------------------------------------------------------------------------------------
-- The log: append-only and hash-linked. Every other fact column is read out of the very bytes that were hashed.
---------------------------------------------------------------------------------------------------------------

CREATE TABLE event (
  key        INTEGER PRIMARY KEY,
  id         BLOB NOT NULL UNIQUE CHECK (length(id) = 32),   -- SHA-256 of body
  body       TEXT NOT NULL CHECK (json_valid(body)),         -- canonical JSON, with the ids of its parents in it
  at         TEXT AS (json_extract(body, '$.at')) VIRTUAL,   -- later than every parent's
  actor      TEXT AS (json_extract(body, '$.actor')) VIRTUAL,
  kind       TEXT AS (json_extract(body, '$.kind')) VIRTUAL, -- a past tense: 'registered', 'promoted', …
  model      TEXT AS (json_extract(body, '$.model')) VIRTUAL,
  run        TEXT AS (json_extract(body, '$.run')) VIRTUAL,
  version    TEXT AS (json_extract(body, '$.version')) VIRTUAL,     -- 'sha256:<hex>'
  from_stage TEXT AS (json_extract(body, '$.from_stage')) VIRTUAL,
  to_stage   TEXT AS (json_extract(body, '$.to_stage')) VIRTUAL,    -- set: this event moves the version
  reason     TEXT AS (json_extract(body, '$.reason')) VIRTUAL
) STRICT;
CREATE INDEX event_at ON event(at);
CREATE INDEX event_model ON event(model, at);
CREATE INDEX event_stage ON event(model, version, at) WHERE to_stage IS NOT NULL;
CREATE INDEX event_production ON event(model, at) WHERE to_stage = 'production';
CREATE INDEX event_policy ON event(model, at) WHERE kind = 'policy_set';
CREATE INDEX event_approval ON event(model, version, at) WHERE kind IN ('approved', 'approval_withdrawn');
CREATE INDEX event_deployed ON event(model, at) WHERE kind = 'deployed';

-- When an event that another registry brought (a merge) was put into this file; no row: it was written here. What one file
-- knows of its own past: two equal registries may differ in it.
CREATE TABLE arrival (
  event INTEGER PRIMARY KEY REFERENCES event(key),
  at    TEXT NOT NULL                                        -- the clock's time of the merge
) STRICT;

-- The events that no other event names as a parent: one, or several after a merge. The next event names them all.
CREATE TABLE head (
  id TEXT PRIMARY KEY                                        -- 'sha256:<hex>', as it stands in the bodies
) STRICT, WITHOUT ROWID;

-- The stage of each version as the log tells it: its newest move counts, and production belongs to the version
-- that entered it last. The rules below hold version.stage to this, and so does `ifp fsck`.
CREATE VIEW stage_by_log AS
SELECT v.key AS version,
       (SELECT CASE WHEN e.to_stage = 'production' AND EXISTS (
                      SELECT 1 FROM event p
                       WHERE p.model = e.model AND p.to_stage = 'production' AND (p.at, p.id) > (e.at, e.id)
                         AND p.version <> e.version)
                    THEN 'archived' ELSE e.to_stage END
          FROM event e
         WHERE e.model = m.name AND e.version = v.sha256 AND e.to_stage IS NOT NULL
         ORDER BY e.at DESC, e.id DESC LIMIT 1) AS stage
  FROM version v JOIN model m ON m.key = v.model;

---------------------------------------------------------------------------------------------------------------
-- Rules: kept by the database itself, whichever program writes. They stop accidents, not a thief with the file.
-- INSERT OR REPLACE deletes without asking a delete trigger, so the inserts look at each unique key themselves.
---------------------------------------------------------------------------------------------------------------

CREATE TRIGGER event_is_new BEFORE INSERT ON event
WHEN EXISTS (SELECT 1 FROM event WHERE id = NEW.id OR key = NEW.key)
BEGIN SELECT RAISE(ABORT, 'ifpdb: an event is never replaced'); END;

CREATE TRIGGER event_is_whole BEFORE INSERT ON event
WHEN json_type(NEW.body, '$.at') IS NOT 'text' OR json_type(NEW.body, '$.actor') IS NOT 'text'
  OR json_type(NEW.body, '$.kind') IS NOT 'text' OR json_type(NEW.body, '$.parents') IS NOT 'array'
BEGIN SELECT RAISE(ABORT, 'ifpdb: an event says when, who and what, and names its parents'); END;

CREATE TRIGGER event_moves_a_version BEFORE INSERT ON event
WHEN NEW.to_stage IS NOT NULL AND NOT EXISTS (
  SELECT 1 FROM run r JOIN version v ON v.key = r.version JOIN model m ON m.key = v.model
   WHERE r.id = NEW.run AND m.name = NEW.model AND v.sha256 = NEW.version)
BEGIN SELECT RAISE(ABORT, 'ifpdb: this event moves a version that is not here'); END;

CREATE TRIGGER event_never_changes BEFORE UPDATE ON event
BEGIN SELECT RAISE(ABORT, 'ifpdb: the event log is append-only'); END;

CREATE TRIGGER event_never_goes BEFORE DELETE ON event
BEGIN SELECT RAISE(ABORT, 'ifpdb: the event log is append-only'); END;

CREATE TRIGGER event_becomes_head AFTER INSERT ON event
BEGIN
  DELETE FROM head WHERE id IN (SELECT value FROM json_each(NEW.body, '$.parents'));
  INSERT INTO head VALUES ('sha256:' || lower(hex(NEW.id)));
END;

-- Demote, then promote: at no moment are there two.
CREATE TRIGGER event_moves_stage AFTER INSERT ON event WHEN NEW.to_stage IS NOT NULL
BEGIN
  UPDATE version SET stage = (SELECT stage FROM stage_by_log s WHERE s.version = version.key)
   WHERE NEW.to_stage = 'production' AND stage = 'production'
     AND model = (SELECT key FROM model WHERE name = NEW.model);
  UPDATE version SET stage = (SELECT stage FROM stage_by_log s WHERE s.version = version.key)
   WHERE key = (SELECT version FROM run WHERE id = NEW.run);
END;

CREATE TRIGGER version_is_new BEFORE INSERT ON version
WHEN EXISTS (SELECT 1 FROM version WHERE key = NEW.key OR (sha256 = NEW.sha256 AND model = NEW.model))
BEGIN SELECT RAISE(ABORT, 'ifpdb: a version is never replaced'); END;

CREATE TRIGGER version_starts_without_stage BEFORE INSERT ON version WHEN NEW.stage IS NOT NULL
BEGIN SELECT RAISE(ABORT, 'ifpdb: a version gets its stage from an event'); END;

CREATE TRIGGER version_stage_follows_log BEFORE UPDATE OF stage ON version
WHEN NEW.stage IS NOT (SELECT stage FROM stage_by_log WHERE version = NEW.key)
BEGIN SELECT RAISE(ABORT, 'ifpdb: no event explains this stage; use ifp promote'); END;

CREATE TRIGGER version_never_changes BEFORE UPDATE OF key, model, digest, manifest, weights, schema ON version
BEGIN SELECT RAISE(ABORT, 'ifpdb: a version never changes'); END;

-- Two people registered it, each in a file of their own: the number that it had where it was first counts.
CREATE TRIGGER version_keeps_its_ordinal BEFORE UPDATE OF ordinal ON version
WHEN NOT EXISTS (
  SELECT 1 FROM arrival WHERE event = (
    SELECT e.key FROM event e JOIN model m ON m.name = e.model
     WHERE m.key = OLD.model AND e.version = OLD.sha256 AND e.to_stage IS NOT NULL ORDER BY e.at, e.id LIMIT 1))
BEGIN SELECT RAISE(ABORT, 'ifpdb: a version keeps its number'); END;

-- UPDATE OF doesn't see a key that is written by its other names: rowid, oid, _rowid_.
CREATE TRIGGER version_keeps_its_key BEFORE UPDATE ON version WHEN NEW.key <> OLD.key
BEGIN SELECT RAISE(ABORT, 'ifpdb: a version never changes'); END;

CREATE TRIGGER version_never_goes BEFORE DELETE ON version
BEGIN SELECT RAISE(ABORT, 'ifpdb: a version is kept for ever; archive it with ifp promote'); END;

CREATE TRIGGER model_is_new BEFORE INSERT ON model
WHEN EXISTS (SELECT 1 FROM model WHERE key = NEW.key OR name = NEW.name)
BEGIN SELECT RAISE(ABORT, 'ifpdb: a model is never replaced'); END;

CREATE TRIGGER model_never_changes BEFORE UPDATE ON model
BEGIN SELECT RAISE(ABORT, 'ifpdb: a model keeps its name'); END;

CREATE TRIGGER model_never_goes BEFORE DELETE ON model
BEGIN SELECT RAISE(ABORT, 'ifpdb: a model is kept for ever'); END;

---------------------------------------------------------------------------------------------------------------
-- Views for auditors.
---------------------------------------------------------------------------------------------------------------

-- Every version as it stands today. `run` is its own run; actor and created_at are that run's.
CREATE VIEW versions AS
SELECT m.name AS model, 'v' || v.ordinal AS ordinal, v.sha256 AS version, r.id AS run, v.stage,
       v.partial, r.registered_at AS created_at, r.actor,
       json_extract(v.manifest, '$.weights') AS weights,
       json_extract(v.manifest, '$.schema') AS feature_schema,
       json_extract(v.manifest, '$.data') AS training_data,             -- JSON: [{"digest" or "uri", "role"}, …]
       (SELECT json_group_object(p.key, json(p.value)) FROM param p WHERE p.run = r.key) AS params,
       r.seed, r.code_commit,
       (SELECT group_concat(name, ' ') FROM (SELECT t.name FROM tag t WHERE t.version = v.key ORDER BY 1)) AS tags,
       (SELECT group_concat(name, ' ') FROM (SELECT l.name FROM label l WHERE l.version = v.key ORDER BY 1)) AS labels
  FROM version v
  JOIN model m ON m.key = v.model
  JOIN run r ON r.version = v.key
   AND r.key = (SELECT f.key FROM run f WHERE f.version = v.key ORDER BY f.registered_at, f.id LIMIT 1);

-- Every run, registered or not.
CREATE VIEW runs AS
SELECT m.name AS model, r.id AS run, r.status, r.started_at, r.ended_at, r.actor, r.seed, r.code_commit, r.code_dirty,
       r.error, r.fit, v.sha256 AS version, r.registered_at
  FROM run r JOIN model m ON m.key = r.model LEFT JOIN version v ON v.key = r.version;

-- Which version held which stage, from when to when (until is NULL: still), who moved it there and why.
-- Where a promotion displaces the version in production, that one is archived at the same moment by the same event.
CREATE VIEW stage_intervals AS
WITH move AS NOT MATERIALIZED (
  SELECT e.model, e.version, e.run, e.to_stage AS stage, e.at AS since, e.actor, e.reason, e.body, e.id,
         (SELECT n.key FROM event n
           WHERE n.model = e.model AND n.version = e.version AND n.to_stage IS NOT NULL AND (n.at, n.id) > (e.at, e.id)
           ORDER BY n.at, n.id LIMIT 1) AS next_move,
         (SELECT p.key FROM event p
           WHERE e.to_stage = 'production' AND p.model = e.model AND p.to_stage = 'production' AND (p.at, p.id) > (e.at, e.id)
           ORDER BY p.at, p.id LIMIT 1) AS next_entry   -- its own again, or the one that displaces it
    FROM event e WHERE e.to_stage IS NOT NULL)
SELECT m.model, m.version, m.run, m.stage, m.since,
       CASE WHEN d.at < coalesce(n.at, '~') THEN d.at ELSE n.at END AS until,
       m.actor, json_extract(m.body, '$.detail.approved_by') AS approved_by,  -- JSON: who approved it
       m.reason, 'sha256:' || lower(hex(m.id)) AS event
  FROM move m LEFT JOIN event n ON n.key = m.next_move LEFT JOIN event d ON d.key = m.next_entry
UNION ALL
SELECT m.model, m.version, m.run, 'archived', d.at, n.at, d.actor, NULL, d.reason, 'sha256:' || lower(hex(d.id))
  FROM move m JOIN event d ON d.key = m.next_entry LEFT JOIN event n ON n.key = m.next_move
 WHERE m.stage = 'production' AND d.version <> m.version AND (n.key IS NULL OR (d.at, d.id) < (n.at, n.id));

-- What each environment says that it served of each model, from when to when (until is NULL: still), and who said so. It
-- serves one version at a time: from the time of one 'deployed' event until that of the next, or of one that it stopped.
CREATE VIEW deployments AS
WITH said AS (
  SELECT e.model, json_extract(e.body, '$.detail.environment') AS environment, e.version, e.run, e.actor, e.at, e.id,
         coalesce(json_extract(e.body, '$.detail.since'), e.at) AS since,
         iif(json_extract(e.body, '$.detail.stopped'), NULL, e.version) AS serves
    FROM event e WHERE e.kind = 'deployed'),
after AS (
  SELECT *, lag(serves) OVER (PARTITION BY model, environment ORDER BY since, at, id) AS served FROM said),
change AS (
  SELECT *, lead(since) OVER (PARTITION BY model, environment ORDER BY since, at, id) AS until
    FROM after WHERE serves IS NOT served)
SELECT model, environment, version, run, since, until, actor, 'sha256:' || lower(hex(id)) AS event
  FROM change WHERE serves IS NOT NULL
 ORDER BY since, at, id;

-- What was in production, from when to when, trained on what, approved by whom: the auditor's view.
CREATE VIEW production_history AS
SELECT i.model, v.ordinal, i.run, i.version, i.since, i.until, i.actor AS promoted_by,
       (SELECT group_concat(value, ', ') FROM json_each(i.approved_by)) AS approved_by, i.reason,
       (SELECT group_concat(d.role || '=' || coalesce(d.name || ' ', '') || d.dataset, ', ')
          FROM datasets d WHERE d.run = v.run) AS data,
       v.params, v.seed, v.code_commit, v.feature_schema, v.weights
  FROM stage_intervals i JOIN versions v ON v.model = i.model AND v.version = i.version
 WHERE i.stage = 'production'
 ORDER BY i.since;

-- The data of each run: by digest, or by a stable pointer.
CREATE VIEW datasets AS
SELECT r.id AS run, rd.role, rd.name, coalesce('sha256:' || nullif(lower(hex(d.digest)), ''), d.pointer) AS dataset, rd.uri,
       d.kind, d.size, d.rows, 'sha256:' || nullif(lower(hex(rd.file)), '') AS file
  FROM run_dataset rd JOIN run r ON r.key = rd.run JOIN dataset d ON d.key = rd.dataset;

-- The columns of each table. Two with the same digest hold the same values in the same order.
CREATE VIEW dataset_columns AS
SELECT 'sha256:' || lower(hex(d.digest)) AS dataset, c.position, c.name, c.type, 'sha256:' || lower(hex(c.digest)) AS digest,
       c.nulls, c.categorical, c.min, c.max, c."values", c.edges, c.counts
  FROM dataset_column c JOIN dataset d ON d.key = c.dataset;

-- Tables that begin with the same rows: the first `same_rows` of `dataset` are those of `other`, which has `other_rows`. Where
-- both are equal, `dataset` is `other` with rows appended.
CREATE VIEW dataset_growth AS
SELECT 'sha256:' || lower(hex(d.digest)) AS dataset, d.rows, 'sha256:' || lower(hex(o.digest)) AS other,
       o.rows AS other_rows, max(p.rows) AS same_rows
  FROM dataset_prefix p JOIN dataset_prefix q ON q.digest = p.digest AND q.dataset <> p.dataset
  JOIN dataset d ON d.key = p.dataset JOIN dataset o ON o.key = q.dataset
 WHERE o.rows <= d.rows
 GROUP BY d.key, o.key;

-- Metrics: the last value, the extremes and how many points there are. `value` is NULL for "not a number".
CREATE VIEW metrics AS
SELECT r.id AS run, x.name AS metric, x.last AS value, x.min, x.max, x.count,
       coalesce('sha256:' || nullif(lower(hex(d.digest)), ''), d.pointer) AS dataset, x.at
  FROM metric x JOIN run r ON r.key = x.run LEFT JOIN dataset d ON d.key = x.dataset;

-- The input features of each version, in order.
CREATE VIEW features AS
SELECT m.name AS model, v.sha256 AS version, 'v' || v.ordinal AS ordinal,
       f.position, f.name, f.type, f.nullable, f.min, f.max, f.categories, f.dtype, f.shape
  FROM version v JOIN model m ON m.key = v.model JOIN feature f ON f.schema = v.schema
 ORDER BY m.name, v.key, f.position;

-- Lineage edges between runs; `version` columns are NULL for runs that registered nothing.
CREATE VIEW lineage AS
SELECT c.id AS child, p.id AS parent, e.kind, e.position,
       cv.sha256 AS child_version, pv.sha256 AS parent_version
  FROM edge e JOIN run c ON c.key = e.child JOIN run p ON p.key = e.parent
  LEFT JOIN version cv ON cv.key = c.version LEFT JOIN version pv ON pv.key = p.version;

-- What changed along each edge, from parent to child: a row a difference. `before` and `after` are as they stand in params
-- (JSON), features (JSON), metrics and so on; NULL: it wasn't there. Features and weights are those of registered runs.
CREATE VIEW changes AS
WITH fact AS (
  SELECT p.run, 'param' AS part, p.key AS name, p.value FROM param p
   UNION ALL
  SELECT r.key, 'feature', f.name,
         json_object('type', f.type, 'nullable', f.nullable, 'min', f.min, 'max', f.max, 'categories', json(f.categories),
                     'dtype', f.dtype, 'shape', json(f.shape))
    FROM run r JOIN version v ON v.key = r.version JOIN feature f ON f.schema = v.schema
   UNION ALL
  SELECT d.run, 'data', d.role || coalesce(':' || d.name, ''),
         coalesce('sha256:' || nullif(lower(hex(s.digest)), ''), s.pointer)
    FROM run_dataset d JOIN dataset s ON s.key = d.dataset
   UNION ALL
  SELECT r.key, 'seed', 'seed', r.seed FROM run r WHERE r.seed IS NOT NULL
   UNION ALL
  SELECT r.key, 'code', 'commit', r.code_commit FROM run r WHERE r.code_commit IS NOT NULL
   UNION ALL
  SELECT r.key, 'environment', 'package ' || x.key, x.value
    FROM run r JOIN environment e ON e.key = r.environment, json_each(e.body, '$.packages') x
   UNION ALL
  SELECT r.key, 'weights', 'weights', json_extract(v.manifest, '$.weights')
    FROM run r JOIN version v ON v.key = r.version WHERE v.weights IS NOT NULL
   UNION ALL
  SELECT m.run, 'metric', m.name || coalesce(' on sha256:' || nullif(lower(hex(s.digest)), ''), ' on ' || s.pointer, ''), m.last
    FROM metric m LEFT JOIN dataset s ON s.key = m.dataset)
SELECT c.id AS child, p.id AS parent, e.kind, a.part, a.name, iif(b.run IS NULL, 'added', 'changed') AS change,
       b.value AS before, a.value AS after
  FROM edge e JOIN run c ON c.key = e.child JOIN run p ON p.key = e.parent JOIN fact a ON a.run = e.child
  LEFT JOIN fact b ON b.run = e.parent AND b.part = a.part AND b.name = a.name
 WHERE b.run IS NULL OR b.value IS NOT a.value
 UNION ALL
SELECT c.id, p.id, e.kind, b.part, b.name, 'removed', b.value, NULL
  FROM edge e JOIN run c ON c.key = e.child JOIN run p ON p.key = e.parent JOIN fact b ON b.run = e.parent
 WHERE NOT EXISTS (SELECT 1 FROM fact a WHERE a.run = e.child AND a.part = b.part AND a.name = b.name);

-- The log, oldest first. `known_at` is when this file learned of it: when a merge brought it, or the clock's own time where
-- `at` was set by hand.
CREATE VIEW events AS
SELECT 'sha256:' || lower(hex(e.id)) AS event, e.at, e.actor, e.kind, e.model, e.run, e.version, e.from_stage, e.to_stage,
       e.reason, json_extract(e.body, '$.detail') AS detail, json_extract(e.body, '$.parents') AS parents,
       coalesce(a.at, json_extract(e.body, '$.detail.clock'), e.at) AS known_at
  FROM event e LEFT JOIN arrival a ON a.event = e.key ORDER BY e.at, e.id;
