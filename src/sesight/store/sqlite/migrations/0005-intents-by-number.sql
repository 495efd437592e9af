-- An intent knows its place in what was asked for and what its message was made of; a stream that was let
-- send again, what was counted of its mail by then. Tables are made anew, so that they read as those of a
-- new store do.
ALTER TABLE intent RENAME TO intent_before;
CREATE TABLE intent (
  no         INTEGER PRIMARY KEY,
  batch      TEXT NOT NULL,
  key        TEXT NOT NULL,
  send_id    TEXT NOT NULL,
  stream     TEXT NOT NULL,
  campaign   TEXT NOT NULL,
  address    TEXT NOT NULL,
  at         INTEGER NOT NULL,
  state      TEXT NOT NULL,
  settled_at INTEGER,
  message_id TEXT,
  code       TEXT,
  detail     TEXT,
  number     INTEGER,
  content    TEXT,
  UNIQUE (batch, key)
);
INSERT INTO intent (no, batch, key, send_id, stream, campaign, address, at, state, settled_at, message_id, code, detail)
SELECT no, batch, key, send_id, stream, campaign, address, at, state, settled_at, message_id, code, detail FROM intent_before;
DROP TABLE intent_before;
ALTER TABLE pause RENAME TO pause_before;
CREATE TABLE pause (
  stream     TEXT PRIMARY KEY,
  at         INTEGER,
  said_by    TEXT,
  detail     TEXT,
  resumed_at INTEGER,
  counts     TEXT
) WITHOUT ROWID;
INSERT INTO pause (stream, at, said_by, detail, resumed_at)
SELECT stream, at, said_by, detail, resumed_at FROM pause_before;
DROP TABLE pause_before;
CREATE INDEX intent_at      ON intent (at);
CREATE INDEX intent_address ON intent (address);
