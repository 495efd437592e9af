-- Suppressed addresses are found by the reason they are shown with.
CREATE INDEX suppression_reason ON suppression (stream, reason, address) WHERE reason IS NOT NULL;
