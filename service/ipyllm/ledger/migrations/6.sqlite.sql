ALTER TABLE calls ADD COLUMN logprobs BLOB;
CREATE TABLE recoveries (
    damaged_file TEXT NOT NULL PRIMARY KEY, state TEXT NOT NULL, attempts BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL, read_bytes BIGINT NOT NULL, calls BIGINT NOT NULL, votes BIGINT NOT NULL, summary TEXT,
    writer_host TEXT, writer_pid BIGINT, writer_start DOUBLE PRECISION,
    updated_at TIMESTAMP WITH TIME ZONE
);
