-- A campaign's totals (family 0) get rows for each dimension and value too: the sums of its day rows
-- (family 1). The row without a dimension was always kept.
INSERT INTO rollup (
  family, scope, dimension, value, bucket,
  recipients, delivered, softBounced, bounced, suppressed, rejected, failed, pending, sent,
  attempted, reached, everDelayed, autoReplied, complained, unsubscribed, opened, humanOpened,
  unknownOpened, machineOnlyOpened, clicked, humanClicked, unknownClicked, machineOnlyClicked,
  capped, opens, clicks, machineOpens, machineClicks, unattributedOpens, unattributedClicks
)
SELECT
  0, scope, dimension, value, 0,
  sum(recipients), sum(delivered), sum(softBounced), sum(bounced), sum(suppressed), sum(rejected),
  sum(failed), sum(pending), sum(sent), sum(attempted), sum(reached), sum(everDelayed),
  sum(autoReplied), sum(complained), sum(unsubscribed), sum(opened), sum(humanOpened),
  sum(unknownOpened), sum(machineOnlyOpened), sum(clicked), sum(humanClicked),
  sum(unknownClicked), sum(machineOnlyClicked), sum(capped), sum(opens), sum(clicks),
  sum(machineOpens), sum(machineClicks), sum(unattributedOpens), sum(unattributedClicks)
FROM rollup
WHERE family = 1 AND scope > 0 AND dimension <> ''
GROUP BY scope, dimension, value;
