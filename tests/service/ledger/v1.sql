-- A ledger as ipyllm wrote it in version 1: three calls, the last of them cut short with its process.
BEGIN TRANSACTION;
CREATE TABLE calls (
        call_id TEXT NOT NULL PRIMARY KEY, started_at TIMESTAMP WITH TIME ZONE,
        kernel_id TEXT, cell_id TEXT, conversation TEXT, origin TEXT,
        service TEXT, model TEXT, response_model TEXT, endpoint TEXT, params JSON, tags JSON,
        status TEXT, finish_reason TEXT, error_category TEXT, error_message TEXT,
        queue_s DOUBLE PRECISION, ttft_s DOUBLE PRECISION, ttfo_s DOUBLE PRECISION, e2e_s DOUBLE PRECISION,
        stream_end_s DOUBLE PRECISION, tpot_s DOUBLE PRECISION, output_tps DOUBLE PRECISION,
        max_gap_s DOUBLE PRECISION, n_chunks BIGINT, client_lag_s DOUBLE PRECISION,
        attempts BIGINT, retry_wait_s DOUBLE PRECISION, total_s DOUBLE PRECISION,
        cold BOOLEAN, cache_hit BOOLEAN,
        input_tokens BIGINT, cached_tokens BIGINT, output_tokens BIGINT, reasoning_tokens BIGINT,
        usage_source TEXT,
        cost_usd DOUBLE PRECISION, price_source TEXT,
        prompt TEXT, response TEXT, reasoning TEXT,
        writer_host TEXT, writer_pid BIGINT, writer_start DOUBLE PRECISION,
        updated_at TIMESTAMP WITH TIME ZONE
    );
INSERT INTO "calls" VALUES('01KAVEXAMPLE0000000000000A','2026-11-24 12:00:00.000000','kernel-a',NULL,'default','magic','openai','openai/gpt-5-mini',NULL,NULL,'{"temperature": 0.5, "stop": ["a"]}','{"arm": "terse"}','ok','stop',NULL,NULL,NULL,0.25,NULL,NULL,NULL,NULL,NULL,NULL,12,NULL,1,NULL,1.5,0,0,9,NULL,12,NULL,'server',2.6e-05,'genai-prices 0.2.3','What is it that''s kept?','A naïve
answer; 日本語.',NULL,'a-host-that-is-gone',1,0.0,'2026-11-24 12:02:00.000000');
INSERT INTO "calls" VALUES('01KAVEXAMPLE0000000000000B','2026-11-24 12:01:00.000000','kernel-a',NULL,NULL,'api','local','local/smollm2-135m',NULL,NULL,'{}','{}','error',NULL,'timeout','It took too long.',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'a-host-that-is-gone',1,0.0,'2026-11-24 12:02:00.000000');
INSERT INTO "calls" VALUES('01KAVEXAMPLE0000000000000C','2026-11-24 12:02:00.000000','kernel-b',NULL,NULL,'api','local','local/smollm2-135m',NULL,NULL,NULL,NULL,'running',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'Tell me a story','Once upon a',NULL,'a-host-that-is-gone',1,0.0,'2026-11-24 12:02:00.000000');
CREATE TABLE ledger_version (
	version INTEGER NOT NULL
);
INSERT INTO "ledger_version" VALUES(1);
CREATE INDEX calls_kernel ON calls (kernel_id, started_at);
CREATE INDEX calls_started ON calls (started_at);
CREATE INDEX calls_running ON calls (writer_host) WHERE status = 'running';
COMMIT;
