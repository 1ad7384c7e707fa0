ALTER TABLE calls ADD COLUMN input_tokens_estimated BIGINT;
ALTER TABLE calls ADD COLUMN output_tokens_estimated BIGINT;
UPDATE calls SET input_tokens_estimated = input_tokens, output_tokens_estimated = output_tokens, input_tokens = NULL, output_tokens = NULL WHERE usage_source = 'estimated';
