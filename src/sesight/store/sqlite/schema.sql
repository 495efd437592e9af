-- The tables of one Sesight store, version 6. A new file is made from this page; older files reach
-- it through migrations/, one numbered step at a time. What each part means: docs and packing.py.

-- Streams by number: the number is the top of every record's id. At most 63.
CREATE TABLE stream (
  no INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE
);

-- Campaigns by number, for indexes and rollups. Never deleted: totals outlive the records.
CREATE TABLE campaign (
  id     INTEGER PRIMARY KEY,
  stream INTEGER NOT NULL,
  name   TEXT NOT NULL,
  UNIQUE (stream, name)
);

-- One row per message and recipient. The id orders a stream's records by send time:
-- stream << 57 | sent ms << 15 | tie (rowid.py). `message` and `address` are hashes, compared
-- whole after decoding; `address` is NULL for `*`. `body` is packing.py's.
CREATE TABLE record (
  id       INTEGER PRIMARY KEY,
  message  INTEGER NOT NULL,
  address  INTEGER,
  campaign INTEGER NOT NULL,
  month    INTEGER,
  body     BLOB NOT NULL
);
CREATE INDEX record_message  ON record (message);
CREATE INDEX record_address  ON record (address) WHERE address IS NOT NULL;
CREATE INDEX record_campaign ON record (campaign);
CREATE INDEX record_month    ON record (month) WHERE month IS NOT NULL;

-- Rare facts (attention.py), so that a page of them is one index scan, also within a campaign.
CREATE TABLE attention (
  kind     INTEGER NOT NULL,
  id       INTEGER NOT NULL,
  campaign INTEGER NOT NULL,
  PRIMARY KEY (kind, id)
) WITHOUT ROWID;
CREATE INDEX attention_campaign ON attention (campaign, kind, id);

-- Values that many records share, stored once as msgpack. AUTOINCREMENT: an id never comes back
-- with another value, so what a reader remembers of one stays true. `last_day`: no record sent
-- after this UTC day uses it.
CREATE TABLE string (
  id       INTEGER PRIMARY KEY AUTOINCREMENT,
  hash     INTEGER NOT NULL,
  last_day INTEGER NOT NULL,
  value    BLOB NOT NULL
);
CREATE INDEX string_hash ON string (hash);

-- Totals: one wide row per head. `scope` is a campaign's id, or minus a stream's number.
-- Family 0 are the running totals of a campaign's day rows, in bucket 0.
CREATE TABLE rollup (
  family    INTEGER NOT NULL,
  scope     INTEGER NOT NULL,
  dimension TEXT NOT NULL,
  value     TEXT NOT NULL,
  bucket    INTEGER NOT NULL,
  recipients           INTEGER NOT NULL DEFAULT 0,
  delivered            INTEGER NOT NULL DEFAULT 0,
  softBounced          INTEGER NOT NULL DEFAULT 0,
  bounced              INTEGER NOT NULL DEFAULT 0,
  suppressed           INTEGER NOT NULL DEFAULT 0,
  rejected             INTEGER NOT NULL DEFAULT 0,
  failed               INTEGER NOT NULL DEFAULT 0,
  pending              INTEGER NOT NULL DEFAULT 0,
  sent                 INTEGER NOT NULL DEFAULT 0,
  attempted            INTEGER NOT NULL DEFAULT 0,
  reached              INTEGER NOT NULL DEFAULT 0,
  everDelayed          INTEGER NOT NULL DEFAULT 0,
  autoReplied          INTEGER NOT NULL DEFAULT 0,
  complained           INTEGER NOT NULL DEFAULT 0,
  unsubscribed         INTEGER NOT NULL DEFAULT 0,
  opened               INTEGER NOT NULL DEFAULT 0,
  humanOpened          INTEGER NOT NULL DEFAULT 0,
  unknownOpened        INTEGER NOT NULL DEFAULT 0,
  machineOnlyOpened    INTEGER NOT NULL DEFAULT 0,
  clicked              INTEGER NOT NULL DEFAULT 0,
  humanClicked         INTEGER NOT NULL DEFAULT 0,
  unknownClicked       INTEGER NOT NULL DEFAULT 0,
  machineOnlyClicked   INTEGER NOT NULL DEFAULT 0,
  capped               INTEGER NOT NULL DEFAULT 0,
  opens                INTEGER NOT NULL DEFAULT 0,
  clicks               INTEGER NOT NULL DEFAULT 0,
  machineOpens         INTEGER NOT NULL DEFAULT 0,
  machineClicks        INTEGER NOT NULL DEFAULT 0,
  unattributedOpens    INTEGER NOT NULL DEFAULT 0,
  unattributedClicks   INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY (family, scope, dimension, value, bucket)
) WITHOUT ROWID;

-- A campaign's identity and times, joined field by field, kept for ever.
CREATE TABLE card (
  campaign      INTEGER PRIMARY KEY,
  name          TEXT,
  provider      TEXT NOT NULL,
  sender        TEXT,
  subject       TEXT,
  template      TEXT,
  first_sent_at INTEGER,
  last_sent_at  INTEGER,
  last_event_at INTEGER
);

-- Whom a stream must not send to. `body` is the item; the other columns are it in words.
CREATE TABLE suppression (
  stream  TEXT NOT NULL,
  address TEXT NOT NULL,
  email   TEXT NOT NULL,
  scope   TEXT,
  active  INTEGER NOT NULL,
  reason  TEXT,
  firstAt INTEGER,
  lastAt  INTEGER,
  until   INTEGER,
  note    TEXT,
  body    BLOB NOT NULL,
  PRIMARY KEY (stream, address)
) WITHOUT ROWID;
CREATE INDEX suppression_until  ON suppression (until) WHERE until IS NOT NULL;
CREATE INDEX suppression_reason ON suppression (stream, reason, address) WHERE reason IS NOT NULL;

-- Trusted bodies that were not understood or not routed.
CREATE TABLE quarantine (
  id         TEXT PRIMARY KEY,
  reason     TEXT NOT NULL,
  at         INTEGER NOT NULL,
  size       INTEGER NOT NULL,
  message_id TEXT,
  body       BLOB NOT NULL
);
CREATE INDEX quarantine_reason  ON quarantine (reason, at, size);
CREATE INDEX quarantine_at      ON quarantine (at);
CREATE INDEX quarantine_message ON quarantine (message_id) WHERE message_id IS NOT NULL;

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
  number     INTEGER,
  content    TEXT,
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

-- Why a stream does not send (`at` NULL: it does), when it was last let send again, and what was counted
-- of its mail by then (JSON).
CREATE TABLE pause (
  stream     TEXT PRIMARY KEY,
  at         INTEGER,
  said_by    TEXT,
  detail     TEXT,
  resumed_at INTEGER,
  counts     TEXT
) WITHOUT ROWID;

-- Every change of the retention setting: the UTC day it comes into force, and its days (0: for ever).
CREATE TABLE retention (
  no       INTEGER PRIMARY KEY,
  from_day INTEGER NOT NULL,
  days     INTEGER NOT NULL
);

-- Send days that a backfill took events of, and the UTC day on which it took the first: they are kept as
-- if sent then. `stream` is the stream's number.
CREATE TABLE backfill (
  stream   INTEGER NOT NULL,
  day      INTEGER NOT NULL,
  taken_on INTEGER NOT NULL,
  PRIMARY KEY (stream, day)
) WITHOUT ROWID;

-- newest_at (ms), synced_at (ms), first_day, generation (raised when values go), values_swept (day),
-- swept_to (the first UTC day never swept); of the clock (retention.py, ms): known_at, doubted_from,
-- doubted_at, doubted_event_at, event_at (the newest time that SES said).
CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value INTEGER NOT NULL
) WITHOUT ROWID;
