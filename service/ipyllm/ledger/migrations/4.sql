ALTER TABLE calls ADD COLUMN effort TEXT;
ALTER TABLE calls ADD COLUMN verbosity TEXT;
ALTER TABLE calls ADD COLUMN input_tokens_estimated BIGINT;
ALTER TABLE calls ADD COLUMN output_tokens_estimated BIGINT;
ALTER TABLE calls ADD COLUMN connect_s DOUBLE PRECISION;
ALTER TABLE calls ADD COLUMN send_delay_s DOUBLE PRECISION;
ALTER TABLE calls ADD COLUMN thinking_s DOUBLE PRECISION;
ALTER TABLE calls ADD COLUMN streamed BOOLEAN;
ALTER TABLE calls ADD COLUMN arrival_clock TEXT;
ALTER TABLE calls ADD COLUMN visible_tokens BIGINT;
ALTER TABLE calls ADD COLUMN refused BOOLEAN;
UPDATE calls SET input_tokens_estimated = input_tokens, output_tokens_estimated = output_tokens, input_tokens = NULL, output_tokens = NULL WHERE usage_source = 'estimated';
ALTER TABLE calls ADD COLUMN cache_write_tokens BIGINT;
ALTER TABLE calls ADD COLUMN service_tier TEXT;
ALTER TABLE calls ADD COLUMN cost_bound_usd DOUBLE PRECISION;
ALTER TABLE calls ADD COLUMN cause TEXT;
ALTER TABLE calls ADD COLUMN broken_attempts BIGINT;
ALTER TABLE calls ADD COLUMN broken_output_tokens_estimated BIGINT;
CREATE TABLE reservations (
    reservation_id TEXT NOT NULL PRIMARY KEY, experiment TEXT NOT NULL,
    usd DOUBLE PRECISION NOT NULL, sent BOOLEAN NOT NULL,
    writer_host TEXT, writer_pid BIGINT, writer_start DOUBLE PRECISION,
    updated_at TIMESTAMP WITH TIME ZONE
);
CREATE INDEX reservations_experiment ON reservations (experiment);
CREATE TABLE spending (
    experiment TEXT NOT NULL, usd DOUBLE PRECISION NOT NULL,
    assumed_usd DOUBLE PRECISION NOT NULL, uncounted BIGINT NOT NULL
);
CREATE INDEX spending_experiment ON spending (experiment);
INSERT INTO spending SELECT
    experiment, coalesce(sum(coalesce(cost_bound_usd, cost_usd)), 0),
    coalesce(sum(CASE WHEN cost_usd IS NULL THEN cost_bound_usd END), 0),
    count(*) - count(coalesce(cost_bound_usd, cost_usd))
    FROM calls WHERE experiment IS NOT NULL AND status <> 'running' GROUP BY experiment;
