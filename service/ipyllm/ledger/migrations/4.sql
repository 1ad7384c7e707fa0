ALTER TABLE calls ADD COLUMN cache_write_tokens BIGINT;
ALTER TABLE calls ADD COLUMN service_tier TEXT;
ALTER TABLE calls ADD COLUMN cost_bound_usd DOUBLE PRECISION;
CREATE INDEX calls_spent ON calls (experiment, status, cost_bound_usd, cost_usd) WHERE experiment IS NOT NULL;
CREATE TABLE reservations (
    reservation_id TEXT NOT NULL PRIMARY KEY, experiment TEXT NOT NULL,
    usd DOUBLE PRECISION NOT NULL, sent BOOLEAN NOT NULL,
    writer_host TEXT, writer_pid BIGINT, writer_start DOUBLE PRECISION,
    updated_at TIMESTAMP WITH TIME ZONE
);
CREATE INDEX reservations_experiment ON reservations (experiment);
