ALTER TABLE conversations ADD COLUMN draft TEXT;
