-- What is sent, and what became of it, gets its tables.
-- One request to send, job or command (domain/sending.py has the words). Times are epoch ms.
CREATE TABLE batch (
  no           INTEGER PRIMARY KEY,
  id           TEXT NOT NULL UNIQUE,
  kind         TEXT NOT NULL,
  stream       TEXT NOT NULL,
  campaign     TEXT NOT NULL,
  fingerprint  TEXT NOT NULL,
  at           INTEGER NOT NULL,
  holder       TEXT NOT NULL,
  leased_until INTEGER NOT NULL,
  total        INTEGER,
  finished_at  INTEGER
);
CREATE INDEX batch_stream ON batch (stream, at, id);
CREATE INDEX batch_at     ON batch (at);

-- One recipient of one batch, and what became of it; `batch` is the batch's id.
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
  UNIQUE (batch, key)
);
CREATE INDEX intent_at      ON intent (at);
CREATE INDEX intent_address ON intent (address);

-- How many of a campaign's intents our own sender withheld, by state. Kept for ever.
CREATE TABLE withheld (
  stream   TEXT NOT NULL,
  campaign TEXT NOT NULL,
  state    TEXT NOT NULL,
  intents  INTEGER NOT NULL,
  PRIMARY KEY (stream, campaign, state)
) WITHOUT ROWID;

-- Why a stream does not send (`at` NULL: it does), and when it was last let send again.
CREATE TABLE pause (
  stream     TEXT PRIMARY KEY,
  at         INTEGER,
  said_by    TEXT,
  detail     TEXT,
  resumed_at INTEGER
) WITHOUT ROWID;
