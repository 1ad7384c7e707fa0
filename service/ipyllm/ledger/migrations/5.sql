CREATE TABLE notes (
    note_id TEXT NOT NULL PRIMARY KEY, written_at TIMESTAMP WITH TIME ZONE, kernel_id TEXT, origin TEXT,
    experiment TEXT, prompt_id TEXT, note TEXT
);
CREATE INDEX notes_experiment ON notes (experiment);
