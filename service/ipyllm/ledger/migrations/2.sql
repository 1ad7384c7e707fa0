CREATE TABLE votes (
    comparison TEXT NOT NULL PRIMARY KEY, vote_id TEXT, cast_at TIMESTAMP WITH TIME ZONE,
    kernel_id TEXT, origin TEXT, prompt TEXT, arms JSON, outcome TEXT, blind BOOLEAN, tags JSON
);
CREATE INDEX votes_kernel ON votes (kernel_id, cast_at);
