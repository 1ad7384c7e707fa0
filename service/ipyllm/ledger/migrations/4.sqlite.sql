PRAGMA application_id = 0x6C6C6D6C;
ALTER TABLE calls ADD COLUMN request BLOB;
CREATE TABLE conversations (
    conversation_id TEXT NOT NULL PRIMARY KEY, saved_at TIMESTAMP WITH TIME ZONE, kernel_id TEXT, place TEXT, name TEXT,
    contents BLOB
);
CREATE TRIGGER spending_insert AFTER INSERT ON calls
    WHEN NEW.experiment IS NOT NULL AND NEW.status <> 'running' BEGIN
    INSERT INTO spending VALUES (
        NEW.experiment, coalesce(NEW.cost_bound_usd, NEW.cost_usd, 0),
        CASE WHEN NEW.cost_usd IS NULL THEN coalesce(NEW.cost_bound_usd, 0) ELSE 0 END,
        NEW.cost_usd IS NULL AND NEW.cost_bound_usd IS NULL
    ); END;
CREATE TRIGGER spending_delete AFTER DELETE ON calls
    WHEN OLD.experiment IS NOT NULL AND OLD.status <> 'running' BEGIN
    INSERT INTO spending VALUES (
        OLD.experiment, -coalesce(OLD.cost_bound_usd, OLD.cost_usd, 0),
        CASE WHEN OLD.cost_usd IS NULL THEN -coalesce(OLD.cost_bound_usd, 0) ELSE 0 END,
        -(OLD.cost_usd IS NULL AND OLD.cost_bound_usd IS NULL)
    ); END;
CREATE TRIGGER spending_update AFTER UPDATE OF experiment, status, cost_usd, cost_bound_usd ON calls
    WHEN (OLD.experiment, OLD.status, OLD.cost_usd, OLD.cost_bound_usd)
        IS NOT (NEW.experiment, NEW.status, NEW.cost_usd, NEW.cost_bound_usd) BEGIN
    INSERT INTO spending SELECT
        OLD.experiment, -coalesce(OLD.cost_bound_usd, OLD.cost_usd, 0),
        CASE WHEN OLD.cost_usd IS NULL THEN -coalesce(OLD.cost_bound_usd, 0) ELSE 0 END,
        -(OLD.cost_usd IS NULL AND OLD.cost_bound_usd IS NULL)
        WHERE OLD.experiment IS NOT NULL AND OLD.status <> 'running'
    UNION ALL SELECT
        NEW.experiment, coalesce(NEW.cost_bound_usd, NEW.cost_usd, 0),
        CASE WHEN NEW.cost_usd IS NULL THEN coalesce(NEW.cost_bound_usd, 0) ELSE 0 END,
        NEW.cost_usd IS NULL AND NEW.cost_bound_usd IS NULL
        WHERE NEW.experiment IS NOT NULL AND NEW.status <> 'running'; END;
