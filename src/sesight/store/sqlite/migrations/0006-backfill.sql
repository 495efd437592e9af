-- Send days that a backfill took events of are remembered, and kept as if sent on the day it began.
CREATE TABLE backfill (
  stream   INTEGER NOT NULL,
  day      INTEGER NOT NULL,
  taken_on INTEGER NOT NULL,
  PRIMARY KEY (stream, day)
) WITHOUT ROWID;
