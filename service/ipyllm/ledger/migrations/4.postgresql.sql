ALTER TABLE calls ADD COLUMN request BYTEA;
CREATE TABLE conversations (
    conversation_id TEXT NOT NULL PRIMARY KEY, saved_at TIMESTAMP WITH TIME ZONE, kernel_id TEXT, place TEXT, name TEXT,
    contents BYTEA
);
CREATE FUNCTION add_spending() RETURNS trigger AS $$ BEGIN
    IF TG_OP <> 'INSERT' AND OLD.experiment IS NOT NULL AND OLD.status <> 'running' THEN
        INSERT INTO spending VALUES (
            OLD.experiment, -coalesce(OLD.cost_bound_usd, OLD.cost_usd, 0),
            CASE WHEN OLD.cost_usd IS NULL THEN -coalesce(OLD.cost_bound_usd, 0) ELSE 0 END,
            CASE WHEN OLD.cost_usd IS NULL AND OLD.cost_bound_usd IS NULL THEN -1 ELSE 0 END
        ); END IF; -- no line of a body ends in a semicolon
    IF TG_OP <> 'DELETE' AND NEW.experiment IS NOT NULL AND NEW.status <> 'running' THEN
        INSERT INTO spending VALUES (
            NEW.experiment, coalesce(NEW.cost_bound_usd, NEW.cost_usd, 0),
            CASE WHEN NEW.cost_usd IS NULL THEN coalesce(NEW.cost_bound_usd, 0) ELSE 0 END,
            CASE WHEN NEW.cost_usd IS NULL AND NEW.cost_bound_usd IS NULL THEN 1 ELSE 0 END
        ); END IF; RETURN NULL; END $$ LANGUAGE plpgsql;
CREATE TRIGGER spending_insert_delete AFTER INSERT OR DELETE ON calls
    FOR EACH ROW EXECUTE FUNCTION add_spending();
CREATE TRIGGER spending_update AFTER UPDATE OF experiment, status, cost_usd, cost_bound_usd ON calls
    FOR EACH ROW WHEN (
        (OLD.experiment, OLD.status, OLD.cost_usd, OLD.cost_bound_usd)
        IS DISTINCT FROM (NEW.experiment, NEW.status, NEW.cost_usd, NEW.cost_bound_usd)
    ) EXECUTE FUNCTION add_spending();
