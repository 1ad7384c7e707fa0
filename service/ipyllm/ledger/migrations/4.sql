ALTER TABLE calls ADD COLUMN input_tokens_estimated BIGINT;
ALTER TABLE calls ADD COLUMN output_tokens_estimated BIGINT;
ALTER TABLE calls ADD COLUMN connect_s DOUBLE PRECISION;
ALTER TABLE calls ADD COLUMN send_delay_s DOUBLE PRECISION;
ALTER TABLE calls ADD COLUMN thinking_s DOUBLE PRECISION;
ALTER TABLE calls ADD COLUMN streamed BOOLEAN;
ALTER TABLE calls ADD COLUMN arrival_clock TEXT;
ALTER TABLE calls ADD COLUMN visible_tokens BIGINT;
UPDATE calls SET input_tokens_estimated = input_tokens, output_tokens_estimated = output_tokens, input_tokens = NULL, output_tokens = NULL WHERE usage_source = 'estimated';
