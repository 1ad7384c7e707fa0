CREATE TABLE experiments (
    name TEXT NOT NULL PRIMARY KEY, changed_at TIMESTAMP WITH TIME ZONE, started_at TIMESTAMP WITH TIME ZONE, kernel_id TEXT,
    arms JSON, n_prompts BIGINT, repeats BIGINT, signature TEXT, data_hash TEXT, note TEXT, tags JSON, grid BLOB, scores BLOB
);
