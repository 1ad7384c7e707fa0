ALTER TABLE calls ADD COLUMN variant TEXT;
ALTER TABLE calls ADD COLUMN address TEXT;
ALTER TABLE calls ADD COLUMN machine TEXT;
ALTER TABLE calls ADD COLUMN concurrency BIGINT;
ALTER TABLE calls ADD COLUMN executor TEXT;
ALTER TABLE calls ADD COLUMN step TEXT;
CREATE TABLE notes (
    note_id TEXT NOT NULL PRIMARY KEY, written_at TIMESTAMP WITH TIME ZONE, kernel_id TEXT, origin TEXT,
    experiment TEXT, prompt_id TEXT, note TEXT
);
CREATE INDEX notes_experiment ON notes (experiment);
