ALTER TABLE calls ADD COLUMN experiment TEXT;
ALTER TABLE calls ADD COLUMN arm TEXT;
ALTER TABLE calls ADD COLUMN prompt_id TEXT;
ALTER TABLE calls ADD COLUMN repeat BIGINT;
ALTER TABLE calls ADD COLUMN warmup BOOLEAN;
CREATE INDEX calls_experiment ON calls (experiment, started_at) WHERE experiment IS NOT NULL;
