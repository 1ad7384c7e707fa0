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
CREATE INDEX calls_kernel ON calls (kernel_id, started_at);
CREATE INDEX calls_started ON calls (started_at);
CREATE INDEX calls_running ON calls (writer_host) WHERE status = 'running';
