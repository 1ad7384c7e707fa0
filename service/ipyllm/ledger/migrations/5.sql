ALTER TABLE calls ADD COLUMN variant TEXT;
ALTER TABLE calls ADD COLUMN address TEXT;
ALTER TABLE calls ADD COLUMN machine TEXT;
ALTER TABLE calls ADD COLUMN concurrency BIGINT;
ALTER TABLE calls ADD COLUMN executor TEXT;
ALTER TABLE calls ADD COLUMN step TEXT;
CREATE TABLE experiment_participants (
    participant_id TEXT NOT NULL PRIMARY KEY, experiment TEXT NOT NULL,
    joined BIGINT NOT NULL, senders BIGINT NOT NULL,
    writer_host TEXT, writer_pid BIGINT, writer_start DOUBLE PRECISION,
    updated_at TIMESTAMP WITH TIME ZONE
);
CREATE INDEX experiment_participants_experiment ON experiment_participants (experiment);
CREATE TABLE experiment_claims (
    experiment TEXT NOT NULL, trial TEXT NOT NULL, participant TEXT NOT NULL, ended BIGINT,
    PRIMARY KEY (experiment, trial)
);
CREATE TABLE notes (
    note_id TEXT NOT NULL PRIMARY KEY, written_at TIMESTAMP WITH TIME ZONE, kernel_id TEXT, origin TEXT,
    experiment TEXT, prompt_id TEXT, note TEXT
);
CREATE INDEX notes_experiment ON notes (experiment);
